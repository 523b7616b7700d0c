from gan.errors import logged
from gan.scoring.floors import lookup_floors
from gan.scoring.reference import image_facts

with logged(snakemake.log[0]):
    store = snakemake.input.store
    image_facts(store, snakemake.output.images, lookup_floors(store, snakemake.params.task))
