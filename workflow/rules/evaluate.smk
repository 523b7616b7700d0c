# Extractors and features of real images, shared by all cells; then the scores of each cell.
EXTRACTORS = STUDY.metrics["extractors"]


def extractor_spec(wildcards):
    return canonical(STUDY.metrics[wildcards.extractor])


def protocol(wildcards):
    return canonical(
        {
            key: value
            for key, value in STUDY.metrics.items()
            if key not in ("inception", "indomain", "random")
        }
    )


rule extractor:
    input:
        store=rules.slices.output.store,
    output:
        extractor=f"{FEATURES}/extractor.pt",
    log:
        f"{LOGS}/{{dataset}}/{{extractor}}_extractor.log",
    threads: ask("evaluate", "threads")
    resources:
        mem_mb=ask("evaluate", "mem_mb"),
        runtime=ask("evaluate", "runtime"),
        gpu=ask("evaluate", "gpu"),
    params:
        spec=extractor_spec,
    script:
        "../scripts/extractor.py"


rule real_features:
    input:
        store=rules.slices.output.store,
        extractor=rules.extractor.output.extractor,
    output:
        features=f"{FEATURES}/real.npz",
    log:
        f"{LOGS}/{{dataset}}/{{extractor}}_features.log",
    threads: ask("evaluate", "threads")
    resources:
        mem_mb=ask("evaluate", "mem_mb"),
        runtime=ask("evaluate", "runtime"),
        gpu=ask("evaluate", "gpu"),
    script:
        "../scripts/real_features.py"
