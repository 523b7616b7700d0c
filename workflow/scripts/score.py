import json
from pathlib import Path

from gan.errors import logged
from gan.evaluate import Protocol, score_cell

with logged(snakemake.log[0]):
    score_cell(
        Path(snakemake.output[0]).parent,
        snakemake.input.extractors,
        snakemake.input.real,
        Protocol.of(json.loads(snakemake.params.protocol)),
        device=snakemake.resources.device,
    )
