import json
from pathlib import Path

from gan.errors import logged
from gan.evaluate import Protocol, score_snapshots

with logged(snakemake.log[0]):
    score_snapshots(
        Path(snakemake.output[0]).parent,
        snakemake.input.extractors,
        snakemake.input.real,
        Protocol.of(json.loads(snakemake.params.protocol)),
        device=snakemake.resources.device,
    )
