from gan.errors import logged
from gan.scoring.reference import image_facts

with logged(snakemake.log[0]):
    image_facts(snakemake.input.store, snakemake.output.images)
