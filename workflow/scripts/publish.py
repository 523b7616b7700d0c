import json
from dataclasses import asdict
from pathlib import Path

from gan.cells import CellFiles
from gan.errors import logged
from gan.files import write_json
from gan.study import Cell
from gan.tracking import publish

root = Path(snakemake.output.tracking).parent
grid = [Cell(*cell) for cell in json.loads(snakemake.params.cells)]
cells = [CellFiles(cell.dataset, cell.variant, cell.seed, root / cell.folder) for cell in grid]
with logged(snakemake.log[0]):
    result = publish(cells, uri=snakemake.params.uri, folder=root, study=snakemake.params.study)
    print(result.message, *result.links, sep="\n")
    if not result.ok:
        print("The study is complete without it; afterwards: snakemake all --forcerun publish")
    write_json(snakemake.output.tracking, asdict(result))
