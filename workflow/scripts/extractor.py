import json

from gan.data.store import Store
from gan.errors import logged
from gan.scoring.extractors import registry
from gan.scoring.reference import prepare_extractor

with logged(snakemake.log[0]):
    Store.open(snakemake.input.store).check_scores()  # before any training
    prepare_extractor(
        registry.kind(snakemake.wildcards.extractor),
        json.loads(snakemake.params.spec),
        snakemake.input.store,
        snakemake.output.extractor,
        device=snakemake.resources.device,
    )
