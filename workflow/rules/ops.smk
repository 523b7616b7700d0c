# The CUDA kernels of gan.ops, built once before the first job that may use a GPU. Jobs of other nodes find them in the same folder.
# The receipt is input of those jobs in every study, as another set of inputs would run them again: a later change of device
# retrains no cell. It says why there are no kernels, and so does training.
import os
from pathlib import Path

import gan

KERNEL_SOURCES = [
    str(path) for path in sorted(Path(gan.__path__[0], "ops/csrc").iterdir())
]
WANTED = wanted_kernels()
BUILD = {
    "cuda": "python -m gan build-ops --receipt {output.receipt} > {log} 2>&1",
    "auto": "python -m gan build-ops --optional --receipt {output.receipt} > {log} 2>&1",
    "none": 'echo \'{{"library": null, "refused": "no job asks for a GPU"}}\' > {output.receipt}',
}
os.environ.setdefault("GAN_OPS_CACHE", str(Path(RESULTS, "ops").absolute()))


rule kernels:
    input:
        KERNEL_SOURCES,
    output:
        receipt=KERNELS,
    log:
        f"{LOGS}/kernels.log",
    localrule: WANTED == "none"
    conda:
        "../envs/gpu.yaml"
    threads: 2
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        wanted=WANTED,
        # another torch needs its own kernels
        torch=None if WANTED == "none" else TORCH["version"],
    shell:
        BUILD[WANTED]
