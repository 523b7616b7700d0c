import json
from pathlib import Path

from gan.errors import logged
from gan.scoring.extractors import registry
from gan.scoring.extractors.obtain import obtain

name = snakemake.wildcards.extractor
with logged(snakemake.log[0]):
    if file := registry.needed_file(name, json.loads(snakemake.params.spec)):
        obtain(name, file, Path(snakemake.output.file))
