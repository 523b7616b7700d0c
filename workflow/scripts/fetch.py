import json
from pathlib import Path

from gan.data.sources import fetch
from gan.errors import logged

with logged(snakemake.log[0]):
    fetch(json.loads(snakemake.params.source), Path(snakemake.output.raw), workers=snakemake.threads)
