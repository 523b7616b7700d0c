import json

from gan.errors import logged
from gan.evaluate import prepare_extractor

with logged(snakemake.log[0]):
    prepare_extractor(
        snakemake.wildcards.extractor,
        json.loads(snakemake.params.spec),
        snakemake.input.store,
        snakemake.output.extractor,
        device=snakemake.resources.device,
    )
