import json

from gan.data.store import Store
from gan.errors import logged
from gan.scoring.reference import prepare_extractor

with logged(snakemake.log[0]):
    # Before any training; `bootstrap: 0` means no intervals, and its default is not 0.
    if snakemake.config.get("metrics", {}).get("bootstrap") != 0:
        Store.open(snakemake.input.store).check_scores()
    prepare_extractor(
        snakemake.wildcards.extractor,
        json.loads(snakemake.params.spec),
        snakemake.input.store,
        snakemake.output.extractor,
        device=snakemake.resources.device,
    )
