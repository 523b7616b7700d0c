"""The variants of a data set against their baselines, as points and tags of their runs."""

# pandas types a selection from a frame as a union of all that it could be.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false

from mlflow.entities import Metric

from gan.cells import CellFiles
from gan.report.pairs import by_seed, compare
from gan.report.table import comparison, leads, scores
from gan.report.trust import of_variants
from gan.tracking import names, points


class Pairs:
    """The variants of one data set against their baselines."""

    def __init__(self, cells: list[CellFiles], baselines: dict[str, str], stamp: int):
        self.baselines, self.cells, self.named = baselines, cells, stamp
        self.seeds = scores(cells)
        self.differences = by_seed(cells, self.seeds, baselines)
        leading = leads(self.seeds, cells)
        self.lead = next(iter(leading.values()), None)
        self.compared = compare(cells, self.differences, baselines, leading)
        self.trusted = of_variants(comparison(self.seeds), cells, leading)

    def stamp(self, cell: CellFiles) -> int:
        """The age of the newest file behind the points of ``cell``; 0 for a variant without a baseline."""
        if cell.variant not in self.baselines:
            return 0
        pair = (cell.variant, self.baselines[cell.variant])
        ages = [points.stamp(other.folder / "scores.json") for other in self.cells if other.variant in pair]
        return max(self.named, *ages)

    def points(self, cell: CellFiles) -> list[Metric]:
        return points.paired(cell, self.differences, self.compared, self.stamp(cell))

    def tags(self, cell: CellFiles, known: dict[str, str]) -> dict[str, str]:
        """The baseline, the verdict of the leading metric on the pair, and what speaks against the variant; empty text
        where a tag no longer holds."""
        tags = {"baseline": self.baselines.get(cell.variant, "")}
        found = self.trusted.get((cell.dataset, cell.variant))
        tags["warnings"] = ", ".join(found.warnings) if found else ""
        rows = self.compared[(self.compared.variant == cell.variant) & (self.compared.metric == self.lead)]
        words = rows.verdict[rows.contrast == names.WHOLE].unique()
        tags["against_baseline"] = f"{self.lead}: {', '.join(words)}" if len(words) else ""
        return {key: value for key, value in tags.items() if value or key in known}
