# The CUDA kernels of gan.ops, built once before the first job that may use a GPU. Jobs of other nodes find them in the same folder.
import os
from pathlib import Path

import gan

KERNELS = f"{RESULTS}/ops/kernels.json"
KERNEL_SOURCES = [
    str(path) for path in sorted(Path(gan.__path__[0], "ops/csrc").iterdir())
]
os.environ.setdefault("GAN_OPS_CACHE", str(Path(RESULTS, "ops").absolute()))

# What jobs wait for: ancient, since other kernels are no reason to do them again.
KERNELS_FOR = {
    kind: [] if STUDY.resources(kind).get("device") == "cpu" else ancient(KERNELS)
    for kind in ("train", "evaluate")
}


rule kernels:
    input:
        KERNEL_SOURCES,
    output:
        receipt=KERNELS,
    log:
        f"{LOGS}/kernels.log",
    conda:
        "../envs/gpu.yaml"
    threads: 2
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        # with `device: auto` a machine without a compiler may be one without a GPU: training says so if it is not
        optional=(
            ""
            if "cuda"
            in {STUDY.resources(kind).get("device") for kind in ("train", "evaluate")}
            else "--optional"
        ),
    shell:
        "python -m gan.ops.build --receipt {output.receipt} {params.optional} > {log} 2>&1"
