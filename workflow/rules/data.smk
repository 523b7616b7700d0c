# Raw images -> canonical volumes -> store of slices.


localrules:
    fetch,


rule fetch:
    output:
        raw=directory(f"{DATA}/raw"),
    log:
        f"{LOGS}/{{dataset}}/fetch.log",
    threads: ask("data", "threads")
    params:
        source=lambda w: canonical(STUDY.dataset(w.dataset)["source"]),
    script:
        "../scripts/fetch.py"


rule convert:
    input:
        raw=rules.fetch.output.raw,
    output:
        volumes=directory(f"{DATA}/volumes"),
    log:
        f"{LOGS}/{{dataset}}/convert.log",
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
        store=directory(f"{DATA}/store"),
    log:
        f"{LOGS}/{{dataset}}/slices.log",
    threads: ask("data", "threads")
    resources:
        mem_mb=ask("data", "mem_mb"),
        runtime=ask("data", "runtime"),
    params:
        spec=lambda w: canonical(STUDY.store_spec(w.dataset)),
    script:
        "../scripts/slices.py"
