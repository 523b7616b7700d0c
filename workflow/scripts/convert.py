import json
from pathlib import Path

from gan.data.volumes import convert
from gan.errors import logged

with logged(snakemake.log[0]):
    convert(
        json.loads(snakemake.params.spec),
        Path(snakemake.input.raw),
        Path(snakemake.output.volumes),
        workers=snakemake.threads,
    )
