# The comparison of all cells, and the tracked runs. Both read the files of the cells and write nothing into them.
CELLS = canonical([[cell.dataset, cell.variant, cell.seed] for cell in STUDY.cells()])


localrules:
    compare,
    publish,


rule compare:
    input:
        scores=[f"{ROOT}/{cell.folder}/scores.json" for cell in STUDY.cells()],
        curves=[f"{ROOT}/{cell.folder}/curve.json" for cell in STUDY.cells()],
    output:
        page=report(f"{ROOT}/comparison.html", category="Comparison"),
        text=f"{ROOT}/comparison.md",
        table=f"{ROOT}/comparison.csv",
        seeds=f"{ROOT}/scores.csv",
    log:
        f"{LOGS}/compare.log",
    params:
        study=STUDY.name,
        cells=CELLS,
    script:
        "../scripts/compare.py"


rule publish:
    input:
        page=rules.compare.output.page,
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
