import json

from gan.errors import logged
from gan.files import write_json

with logged(snakemake.log[0]):
    write_json(snakemake.output.terms, json.loads(snakemake.params.terms))
