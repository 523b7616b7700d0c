# Raw images -> canonical volumes -> store of slices.
from gan.study import identity


localrules:
    fetch,
    prefetch,


# `snakemake prefetch`: all downloads, so that the nodes of a cluster need no internet.
rule prefetch:
    input:
        expand(f"{DATA}/raw", dataset=dict.fromkeys(cell.dataset for cell in TRAINED)),
        EXTRACTOR_FILES.values() if SCORED else [],


rule fetch:
    output:
        raw=directory(f"{DATA}/raw"),
    log:
        f"{LOGS}/{{dataset}}/fetch.log",
    threads: ask("data", "threads")
    params:
        identity=lambda w: canonical(identity(STUDY.dataset(w.dataset)["source"])),
        # Snakemake tracks no param that uses `output`: a pinned archive that has moved is still the same archive.
        source=lambda w, output: canonical(STUDY.dataset(w.dataset)["source"]),
    script:
        "../scripts/fetch.py"


rule convert:
    input:
        raw=rules.fetch.output.raw,
    output:
        volumes=directory(f"{DATA}/volumes"),
    log:
        f"{LOGS}/{{dataset}}/convert.log",
    benchmark:
        f"{BENCHMARKS}/{{dataset}}/convert.tsv"
    conda:
        "../envs/cpu.yaml"
    threads: ask("data", "threads")
    resources:
        mem_mb=ask("data", "mem_mb"),
        runtime=ask("data", "runtime"),
    params:
        spec=lambda w: canonical(STUDY.volumes_spec(w.dataset)),
    script:
        "../scripts/convert.py"


rule slices:
    input:
        volumes=rules.convert.output.volumes,
    output:
        store=report(
            directory(f"{DATA}/store"),
            patterns=["{picture,contact_sheet}.png"],
            caption="../report/contact_sheet.rst",
            category="Data",
            labels={"data set": "{dataset}", "images": "candidates"},
        ),
    log:
        f"{LOGS}/{{dataset}}/slices.log",
    benchmark:
        f"{BENCHMARKS}/{{dataset}}/slices.tsv"
    conda:
        "../envs/cpu.yaml"
    threads: ask("data", "threads")
    resources:
        mem_mb=ask("data", "mem_mb"),
        runtime=ask("data", "runtime"),
    params:
        spec=lambda w: canonical(STUDY.store_spec(w.dataset)),
    script:
        "../scripts/slices.py"
