# Extractors and features of real images, shared by all cells; then the scores of each cell.


localrules:
    extractor_file,
    judge,


# Before anything else: where a file cannot be had, nothing is trained.
rule extractor_file:
    output:
        file=f"{RESULTS}/extractors/{{extractor}}-{{sha256}}.pt",
    log:
        f"{LOGS}/{{extractor}}-{{sha256}}.log",
    priority: 2
    params:
        # Snakemake tracks no param that uses `output`: from another place it is still the same file.
        spec=lambda w, output: canonical(registry.section(METRICS, w.extractor)),
    script:
        "../scripts/extractor_file.py"


rule extractor:
    input:
        store=rules.slices.output.store,
        file=lambda w: EXTRACTOR_FILES.get(w.extractor, []),
    output:
        extractor=f"{FEATURES}/extractor.pt",
    log:
        f"{LOGS}/{{dataset}}/{{extractor}}_extractor.log",
    benchmark:
        f"{BENCHMARKS}/{{dataset}}/{{extractor}}_extractor.tsv"
    conda:
        "../envs/gpu.yaml"
    threads: ask("evaluate", "threads")
    resources:
        mem_mb=ask("evaluate", "mem_mb"),
        runtime=ask("evaluate", "runtime"),
        gpu=ask("evaluate", "gpu"),
        device=ask("evaluate", "device"),
    params:
        spec=extractor_spec,
        revision=METRICS_REVISION,
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
    benchmark:
        f"{BENCHMARKS}/{{dataset}}/{{extractor}}_features.tsv"
    conda:
        "../envs/gpu.yaml"
    threads: ask("evaluate", "threads")
    resources:
        mem_mb=ask("evaluate", "mem_mb"),
        runtime=ask("evaluate", "runtime"),
        gpu=ask("evaluate", "gpu"),
        device=ask("evaluate", "device"),
    params:
        revision=METRICS_REVISION,
    script:
        "../scripts/real_features.py"


rule image_facts:
    input:
        store=rules.slices.output.store,
    output:
        images=f"{REAL}/images.npz",
    log:
        f"{LOGS}/{{dataset}}/image_facts.log",
    benchmark:
        f"{BENCHMARKS}/{{dataset}}/image_facts.tsv"
    conda:
        "../envs/gpu.yaml"
    threads: ask("evaluate", "threads")
    resources:
        mem_mb=ask("evaluate", "mem_mb"),
        runtime=ask("evaluate", "runtime"),
    params:
        task=lambda w: STUDY.dataset(w.dataset)["translate"],
        revision=METRICS_REVISION,
    script:
        "../scripts/image_facts.py"


rule judge:
    input:
        extractors=judges("extractor.pt"),
        real=judges("real.npz"),
        images=rules.image_facts.output.images,
    output:
        judge=JUDGE,
    log:
        f"{LOGS}/{{dataset}}/judge.log",
    params:
        # of images to translate; features and facts were made of it
        store=rules.slices.output.store,
        protocol=protocol("n_fake_curve", "truncation", "seed", "as_published"),
    script:
        "../scripts/judge.py"


rule curve:
    input:
        snapshots=rules.train.output.snapshots,
        judge=rules.judge.output.judge,
        kernels=ancient(KERNELS),
    output:
        curve=f"{CELL}/curve.json",
    log:
        f"{LOGS}/{{dataset}}/{{variant}}_seed{{seed}}_curve.log",
    benchmark:
        f"{BENCHMARKS}/{{dataset}}/{{variant}}_seed{{seed}}_curve.tsv"
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
        revision=METRICS_REVISION,
    script:
        "../scripts/curve.py"


rule score:
    input:
        generator=rules.train.output.generator,
        snapshots=rules.train.output.snapshots,
        recipe=rules.train.output.recipe,
        curve=rules.curve.output.curve,
        judge=rules.judge.output.judge,
        kernels=ancient(KERNELS),
    output:
        **MOVED,
        scores=f"{CELL}/scores.json",
        replicates=f"{CELL}/replicates.json",
        copies=f"{CELL}/copies.json",
        pairs=f"{CELL}/pairs.html",
        shown=directory(f"{CELL}/shown"),
        fake=report(
            f"{CELL}/fake.png",
            caption="../report/fake.rst",
            category="Images",
            subcategory="{dataset}",
            labels={"variant": "{variant}", "seed": "{seed}", "images": "generated"},
        ),
    log:
        f"{LOGS}/{{dataset}}/{{variant}}_seed{{seed}}_score.log",
    benchmark:
        f"{BENCHMARKS}/{{dataset}}/{{variant}}_seed{{seed}}_score.tsv"
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
        protocol=protocol("n_fake", "bootstrap", "choose", "truncation", "seed"),
        revision=METRICS_REVISION,
        folders={"checkpoints": f"{RESULTS}/checkpoints", "looks": f"{RESULTS}/looks"},
    script:
        "../scripts/score.py"
