import json
from pathlib import Path

from gan.data.slices import build_store
from gan.errors import logged

with logged(snakemake.log[0]):
    build_store(
        json.loads(snakemake.params.spec),
        Path(snakemake.input.volumes),
        Path(snakemake.output.store),
        workers=snakemake.threads,
        name=snakemake.wildcards.dataset,
    )
