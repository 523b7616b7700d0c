import json
from pathlib import Path

from gan.cells import CellFiles
from gan.errors import logged
from gan.report import write_report
from gan.study import Cell

root = Path(snakemake.output.page).parent
cells = [CellFiles(*cell, root / Cell(*cell).folder) for cell in json.loads(snakemake.params.cells)]
with logged(snakemake.log[0]):
    write_report(
        snakemake.params.study,
        cells,
        root,
        stores={cell.dataset: root / "data" / cell.dataset / "store" for cell in cells},
    )
