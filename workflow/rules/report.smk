# The comparison of all cells, and the tracked runs. Both only read the files of the cells.
CELLS = canonical([[cell.dataset, cell.variant, cell.seed] for cell in STUDY.cells()])


report: "../report/study.rst"


VARIANTS = {"category": "Comparison", "caption": "../report/variants.rst"}
PAIRS = {"category": "Comparison", "caption": "../report/pairs.rst"}
USE = {"category": "Comparison", "caption": "../report/utility.rst"}
RUNS = {"category": "Comparison", "caption": "../report/runs.rst"}


# With `utility` there is one table more.
TABLE_OF_USE = (
    {}
    if STUDY.utility is None
    else {
        "utility": report(
            f"{ROOT}/utility.csv",
            **USE,
            labels={"part": "table of utility", "format": "CSV"},
        )
    }
)


localrules:
    baselines,
    compare,
    publish,


# Which variant modifies which, and the section utility: for the reports, also of a running study, so they are written first.
rule baselines:
    output:
        baselines=f"{ROOT}/baselines.json",
        utility=f"{ROOT}/utility_asked.json",
    log:
        f"{LOGS}/baselines.log",
    priority: 1
    params:
        baselines=canonical(STUDY.baselines()),
        utility=canonical(STUDY.utility),
    script:
        "../scripts/baselines.py"


rule compare:
    input:
        baselines=rules.baselines.output.baselines,
        results=[path for cell in STUDY.cells() for path in results(cell)],
        curves=[f"{ROOT}/{cell.folder}/curve.json" for cell in SCORED],
    output:
        **TABLE_OF_USE,
        **({"features": f"{ROOT}/moved.csv"} if MOVED and SCORED else {}),
        page=report(
            f"{ROOT}/comparison.html",
            **VARIANTS,
            labels={"part": "page", "format": "HTML"},
        ),
        text=report(
            f"{ROOT}/comparison.md",
            **VARIANTS,
            labels={"part": "table of variants", "format": "Markdown"},
        ),
        table=report(
            f"{ROOT}/comparison.csv",
            **VARIANTS,
            labels={"part": "table of variants", "format": "CSV"},
        ),
        differences=report(
            f"{ROOT}/differences.csv",
            **PAIRS,
            labels={"part": "table of pairs", "format": "CSV"},
        ),
        seeds=report(
            f"{ROOT}/scores.csv",
            **RUNS,
            labels={"part": "table of runs", "format": "CSV"},
        ),
    log:
        f"{LOGS}/compare.log",
    params:
        study=STUDY.name,
        cells=CELLS,
        utility=canonical(STUDY.utility),
        terms=canonical(STUDY.all_terms()),
    script:
        "../scripts/compare.py"


rule publish:
    input:
        page=rules.compare.output.page,
        baselines=rules.baselines.output.baselines,
    output:
        tracking=f"{ROOT}/tracking.json",
    log:
        f"{LOGS}/publish.log",
    params:
        study=STUDY.name,
        cells=CELLS,
        uri=STUDY.config["tracking"]["uri"],
    script:
        "../scripts/publish.py"
