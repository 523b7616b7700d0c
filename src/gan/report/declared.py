"""The terms of the data on the page: a banner where none are declared, else a line and what has to be quoted."""

from collections.abc import Sequence
from dataclasses import dataclass

from gan.cells import CellFiles
from gan.terms import FILE, Terms, of_study

QUOTED = {"citation": "Cite", "attribution": "Name", "url": "Terms", "ethics": "Ethics"}


@dataclass(frozen=True)
class Declared:
    """The terms that some variants of a data set share. variants: empty if all of them do; notes: what to quote."""

    variants: list[str]
    declared: bool
    line: str
    notes: list[str]

    def text(self) -> str:
        """All in one line."""
        of = f"{', '.join(self.variants)}: " if self.variants else ""
        return " ".join([f"{of}{self.line}.", *self.notes])


def declared(cells: Sequence[CellFiles]) -> list[Declared]:
    """The present terms of the ``cells`` of one data set, as its study declares them."""
    groups: dict[Terms, list[str]] = {}
    for cell in cells:
        names = groups.setdefault(terms_of(cell), [])
        names += [cell.variant] if cell.variant not in names else []
    return [_declared(terms, names if len(groups) > 1 else []) for terms, names in groups.items()]


def terms_of(cell: CellFiles) -> Terms:
    """The present terms of ``cell``, as its study declares them."""
    return of_study(cell.folder.parents[2] / FILE, cell.dataset, cell.variant) or Terms()


def _declared(terms: Terms, variants: list[str]) -> Declared:
    notes = [
        f"{word}: {quoted.rstrip('.')}." if text != "url" else f"{word}: {quoted}"
        for text, word in QUOTED.items()
        for quoted in terms.quoted(text)
    ]
    line = terms.line()
    return Declared(variants, terms.declared, line[0].upper() + line[1:], notes)
