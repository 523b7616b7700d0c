# What generated images are good for (docs/utility.md): networks trained on real images, once for each data set, task and seed;
# then those trained on the images of each cell. Nothing of it without `utility` in the config.
rule reference:
    input:
        store=rules.slices.output.store,
        volumes=rules.convert.output.volumes,
    output:
        network=f"{REFERENCE}/network.pt",
        reference=f"{REFERENCE}/reference.json",
    log:
        f"{LOGS}/{{dataset}}/{{task}}_seed{{seed}}_reference.log",
    benchmark:
        f"{BENCHMARKS}/{{dataset}}/{{task}}_seed{{seed}}_reference.tsv"
    conda:
        "../envs/gpu.yaml"
    threads: ask("evaluate", "threads")
    resources:
        mem_mb=ask("evaluate", "mem_mb"),
        runtime=ask("evaluate", "runtime"),
        gpu=ask("evaluate", "gpu"),
        device=ask("evaluate", "device"),
    params:
        asked=asked_of_utility(generated=False),
        revision=UTILITY_REVISION,
    script:
        "../scripts/reference.py"


rule utility:
    input:
        store=rules.slices.output.store,
        volumes=rules.convert.output.volumes,
        networks=references("network.pt"),
        references=references("reference.json"),
        generator=rules.train.output.generator,
        snapshots=rules.train.output.snapshots,
        recipe=rules.train.output.recipe,
        scores=rules.score.output.scores,
        kernels=ancient(KERNELS),
    output:
        utility=f"{CELL}/utility.json",
    log:
        f"{LOGS}/{{dataset}}/{{variant}}_seed{{seed}}_utility.log",
    benchmark:
        f"{BENCHMARKS}/{{dataset}}/{{variant}}_seed{{seed}}_utility.tsv"
    conda:
        "../envs/gpu.yaml"
    threads: ask("evaluate", "threads")
    resources:
        mem_mb=ask("evaluate", "mem_mb"),
        runtime=ask("evaluate", "runtime"),
        gpu=ask("evaluate", "gpu"),
        device=ask("evaluate", "device"),
        ops=ask("evaluate", "ops"),
    params:
        asked=asked_of_utility(generated=True),
        tasks=lambda w: STUDY.tasks(cell(w)),
        protocol=protocol("truncation", "seed"),
        revision=UTILITY_REVISION,
    script:
        "../scripts/utility.py"
