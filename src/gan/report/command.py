"""``gan report --study results/<study>``: compare what is there, while a study runs or after a failure."""

import argparse
from pathlib import Path

from gan.cells import CellFiles, baselines, utility_asked
from gan.errors import GanError, command


@command
def main(argv: list[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="gan report", description="Compare the cells that have scores.")
    parser.add_argument("--study", type=Path, required=True, help="folder of the study: results/<study>")
    parser.add_argument("--out", type=Path, help="folder of the tables and the page; default: <study>/so_far")
    parser.add_argument(
        "--shareable", action="store_true", help="without any picture of a patient, in <study>/shareable"
    )
    given = parser.parse_args(argv)
    from gan.report.page import write_report  # with pandas and scipy, which take a second

    cells = CellFiles.below(given.study)
    if not cells:
        raise GanError(f"{given.study}: no cell has begun there; name results/<study> of a study that runs or has run")
    # not where the workflow writes its own: what it finds there it takes for finished
    out = given.out or given.study / ("shareable" if given.shareable else "so_far")
    stores = {cell.dataset: given.study / "data" / cell.dataset / "store" for cell in cells}
    study = given.study.resolve()
    known = {"stores": stores, "baselines": baselines(given.study), "looks": study.parent / "looks"}
    known["utility"] = utility_asked(given.study)
    write_report(study.name, cells, out, **known, shareable=given.shareable)
    print(out / "comparison.html")
    return 0
