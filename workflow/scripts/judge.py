import json

from gan.errors import logged
from gan.files import write_json

with logged(snakemake.log[0]):
    write_json(
        snakemake.output.judge,
        {
            "extractors": list(snakemake.input.extractors),
            "real": list(snakemake.input.real),
            "images": snakemake.input.images,
            "store": snakemake.params.store,
            "protocol": json.loads(snakemake.params.protocol),
        },
    )
