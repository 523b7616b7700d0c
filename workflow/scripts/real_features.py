from gan.errors import logged
from gan.scoring.reference import real_features

with logged(snakemake.log[0]):
    real_features(
        snakemake.input.extractor,
        snakemake.input.store,
        snakemake.output.features,
        device=snakemake.resources.device,
    )
