# The CUDA kernels of gan.ops, built once before the first job that may use a GPU. Jobs of other nodes find them in the same folder.
import os
from pathlib import Path

import gan

KERNEL_SOURCES = [
    str(path) for path in sorted(Path(gan.__path__[0], "ops/csrc").iterdir())
]
os.environ.setdefault("GAN_OPS_CACHE", str(Path(RESULTS, "ops").absolute()))


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
    shell:
        "python -m gan.ops.build --receipt {output.receipt} > {log} 2>&1"
