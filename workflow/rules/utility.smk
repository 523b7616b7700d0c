# What generated images are good for (docs/utility.md): networks trained on real images, once for each data set, task and seed;
# then those trained on the images of each cell. Nothing of it without `utility` in the config.
from gan.utility.options import Settings, arms_of

UTILITY = STUDY.utility or {"arms": []}
USEFUL = [cell for cell in SCORED if STUDY.tasks(cell)]
REFERENCE = f"{ROOT}/utility/{{dataset}}/{{task}}/seed{{seed}}"


wildcard_constraints:
    task="segment|classify",


def asked(generated):
    """The arms of generated or of real images, and the settings of their networks."""
    arms = arms_of(UTILITY["arms"], generated=generated)
    return lambda w: canonical(
        {"arms": arms, "regions": STUDY.dataset(w.dataset)["regions"]}
        | {key: UTILITY[key] for key in Settings.names()}
    )


def references(name):
    """This file of the real arm of each task of a cell."""
    return lambda w: [
        f"{REFERENCE}/{name}".format(dataset=w.dataset, task=task, seed=w.seed)
        for task in STUDY.tasks(cell(w))
    ]


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
        asked=asked(generated=False),
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
        asked=asked(generated=True),
        tasks=lambda w: STUDY.tasks(cell(w)),
        protocol=protocol("truncation", "seed"),
        revision=UTILITY_REVISION,
    script:
        "../scripts/utility.py"
