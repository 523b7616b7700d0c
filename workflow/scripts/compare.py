import json
from pathlib import Path

from gan.cells import CellFiles, baselines
from gan.errors import logged
from gan.report import write_report
from gan.study import Cell

root = Path(snakemake.output.page).parent
grid = [Cell(*cell) for cell in json.loads(snakemake.params.cells)]
cells = [CellFiles(cell.dataset, cell.variant, cell.seed, root / cell.folder) for cell in grid]
with logged(snakemake.log[0]):
    write_report(
        snakemake.params.study,
        cells,
        root,
        stores={cell.dataset: root / "data" / cell.dataset / "store" for cell in cells},
        baselines=baselines(root),
        looks=root.parent / "looks",
        utility=json.loads(snakemake.params.utility),
    )
