import json

from gan.errors import logged
from gan.files import write_json

with logged(snakemake.log[0]):
    write_json(snakemake.output.baselines, json.loads(snakemake.params.baselines))
    write_json(snakemake.output.utility, json.loads(snakemake.params.utility))
