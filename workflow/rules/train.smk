# One rule for every variant that is trained, one for those that are made, and one for those that are made of another cell's images. The checkpoint is not an output: outputs of a failed job are deleted, and it must survive a kill.
# On several nodes training itself starts its processes, one a node, by srun: the Slurm plugin calls such jobs mpi.
from gan.runtime import Runtime
from gan.slurm import claim

# In a job that the executor has submitted for one cell: training may requeue it. A user's own batch job is left alone.
if workflow.remote_exec:
    claim()

NODES, GPUS = ask("train", "nodes"), ask("train", "gpu")
SEVERAL_NODES = (
    {"mpi": "srun", "tasks": NODES, "tasks_per_gpu": 0, "gres": f"gpu:{GPUS // NODES}"}
    if NODES > 1
    else {}
)
# The runtime of a training goes through `resources`, where --set-resources can change it, and the number of threads through
# Snakemake, which may have fewer; the command line gets it as one word.
KEYS = Runtime.resources()
ASKED = {
    key: as_resource(ask("train", key)) for key in KEYS.values() if key != "threads"
}
WORD = ",".join(
    f"{name}={{threads}}" if key == "threads" else f"{name}={{resources.{key}}}"
    for name, key in KEYS.items()
)


rule train:
    input:
        store=rules.slices.output.store,
        judge=training_judge,
        # ancient: other kernels are no reason to train again
        kernels=ancient(KERNELS),
        # the weights of the cell that this one starts from, if any
        init_from=start_weights,
    output:
        generator=f"{CELL}/generator.pt",
        weights=f"{CELL}/weights.pt",
        snapshots=directory(f"{CELL}/snapshots"),
        stats=f"{CELL}/stats.jsonl",
        cost=f"{CELL}/cost.json",
        recipe=f"{CELL}/recipe.json",
        real=report(
            f"{CELL}/real.png",
            caption="../report/real.rst",
            category="Images",
            subcategory="{dataset}",
            labels={"variant": "{variant}", "seed": "{seed}", "images": "real"},
        ),
    log:
        f"{LOGS}/{{dataset}}/{{variant}}_seed{{seed}}_train.log",
    wildcard_constraints:
        variant=names(c.variant for c in TRAINED if STUDY.trained(c.variant)),
    conda:
        "../envs/gpu.yaml"
    threads: ask("train", "threads")
    resources:
        **SEVERAL_NODES,
        **ASKED,
        mem_mb=ask("train", "mem_mb"),
        runtime=ask("train", "runtime"),
    params:
        terms=TERMS,
        recipe=recipe,
        folder=CELL,
        checkpoints=f"{RESULTS}/checkpoints",
    shell:
        # exec: a signal of the scheduler must reach the training process itself, which then saves its state
        "exec python -m gan run --recipe {params.recipe:q} --store {input.store} --folder {params.folder}"
        " --checkpoints {params.checkpoints} --judge {input.judge} --init-from {input.init_from:q} --terms {params.terms} --log {log}"
        f" --runtime {WORD}"


rule make:
    input:
        store=rules.slices.output.store,
    output:
        generator=f"{CELL}/generator.pt",
        snapshots=directory(f"{CELL}/snapshots"),
        stats=f"{CELL}/stats.jsonl",
        cost=f"{CELL}/cost.json",
        recipe=f"{CELL}/recipe.json",
        real=report(
            f"{CELL}/real.png",
            caption="../report/real.rst",
            category="Images",
            subcategory="{dataset}",
            labels={"variant": "{variant}", "seed": "{seed}", "images": "real"},
        ),
    log:
        f"{LOGS}/{{dataset}}/{{variant}}_seed{{seed}}_make.log",
    benchmark:
        f"{BENCHMARKS}/{{dataset}}/{{variant}}_seed{{seed}}_make.tsv"
    wildcard_constraints:
        variant=names(
            c.variant
            for c in TRAINED
            if not STUDY.trained(c.variant) and not STUDY.works_on(c)
        ),
    conda:
        "../envs/gpu.yaml"
    threads: ask("data", "threads")
    resources:
        mem_mb=ask("data", "mem_mb"),
        runtime=ask("data", "runtime"),
    params:
        terms=TERMS,
        recipe=recipe,
        folder=CELL,
        checkpoints=f"{RESULTS}/checkpoints",
        images=lambda w: (
            ["--images", STUDY.place(cell(w))] if STUDY.place(cell(w)) else []
        ),
    shell:
        "exec python -m gan run --recipe {params.recipe:q} --store {input.store} --folder {params.folder}"
        " --checkpoints {params.checkpoints} {params.images:q} --runtime device=cpu,threads={threads} --terms {params.terms} --log {log}"


# Networks do the work here, so it asks for what scoring asks for. What it has made so far survives a kill, below the checkpoints.
rule derive:
    input:
        store=rules.slices.output.store,
        generator=made_of,
        encoder=made_with,
        kernels=ancient(KERNELS),
    output:
        generator=f"{CELL}/generator.pt",
        snapshots=directory(f"{CELL}/snapshots"),
        stats=f"{CELL}/stats.jsonl",
        cost=f"{CELL}/cost.json",
        recipe=f"{CELL}/recipe.json",
        real=report(
            f"{CELL}/real.png",
            caption="../report/real.rst",
            category="Images",
            subcategory="{dataset}",
            labels={"variant": "{variant}", "seed": "{seed}", "images": "real"},
        ),
    log:
        f"{LOGS}/{{dataset}}/{{variant}}_seed{{seed}}_make.log",
    benchmark:
        f"{BENCHMARKS}/{{dataset}}/{{variant}}_seed{{seed}}_make.tsv"
    wildcard_constraints:
        variant=names(c.variant for c in TRAINED if STUDY.works_on(c)),
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
        terms=TERMS,
        recipe=recipe,
        folder=CELL,
        checkpoints=f"{RESULTS}/checkpoints",
    shell:
        "exec python -m gan run --recipe {params.recipe:q} --store {input.store} --folder {params.folder}"
        " --checkpoints {params.checkpoints} --generator {input.generator} --encoder {input.encoder}"
        " --runtime device={resources.device},ops={resources.ops},threads={threads} --terms {params.terms} --log {log}"
