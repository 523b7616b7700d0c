"""Class names of subjects from a spreadsheet."""

import csv
from pathlib import Path

import pandas as pd

from gan.data.notices import some
from gan.errors import GanError
from gan.files import DAMAGED


def read_labels(rule: dict[str, str], subjects: set[str], root: Path) -> dict[str, str]:
    """Class name of each subject, from the columns ``rule["subject"]`` and ``rule["label"]`` of ``rule["table"]``.

    The table is a csv, tsv or xlsx file; a relative path that is not below the working folder is taken below ``root``,
    since some archives bring their spreadsheet along. Columns are separated by ``,``, ``;``, tabs or ``|``. Everything
    is text, so a class may be called None or NA; an empty cell is no label. Rows of other subjects do no harm.

    Raises GanError for a missing file or column, a subject without a label, or one with two different labels.
    """
    path = Path(rule["table"])
    path = path if path.exists() else root / path
    wanted = (rule["subject"], rule["label"])
    try:
        table = _read(path, wanted)
    except FileNotFoundError as error:
        raise GanError(f"labels: table {rule['table']} is neither here nor below {root}; check the path") from error
    except (*DAMAGED, OSError, ImportError, SyntaxError, TypeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise GanError(
            f"{path}: cannot be read as a csv or xlsx table ({reason}); save it again as csv in UTF-8"
        ) from error
    for column in wanted:
        if column not in table.columns:
            raise GanError(f"{path}: no column '{column}'; it has {', '.join(map(str, table.columns))}")
    names, classes = (table[column].fillna("").str.strip() for column in wanted)
    labels: dict[str, str] = {}
    for subject, label in zip(names, classes, strict=True):
        if label and subject in subjects and labels.setdefault(subject, label) != label:
            raise GanError(f"{path}: two labels for subject {subject}, {labels[subject]} and {label}; keep one")
    if missing := sorted(subjects - labels.keys()):
        others = sorted(set(names) - subjects - {""})
        there = f" (rows of the table without a subject: {some(others, 3)})" if others else ""
        raise GanError(
            f"{path}: no label in column '{rule['label']}' for subject {some(missing)}{there}; "
            "add them to the table or remove the subjects"
        )
    return labels


def _read(path: Path, wanted: tuple[str, str]) -> pd.DataFrame:
    """The table as text; of a text file with the separator that gives the ``wanted`` columns, else the most."""
    text = {"dtype": str, "keep_default_na": False}
    if path.suffix.lower() in (".xlsx", ".xls", ".ods"):
        return pd.read_excel(path, **text)
    with open(path, encoding="utf-8-sig") as file:
        header = file.readline()
    best = max(",;\t|", key=lambda separator: ({*wanted} <= {*_cells(header, separator)}, header.count(separator)))
    table = pd.read_csv(path, sep=best, encoding="utf-8-sig", skipinitialspace=True, **text)
    return table.replace("n/a", "") if path.suffix.lower() == ".tsv" else table  # so says BIDS


def _cells(header: str, separator: str) -> list[str]:
    return next(csv.reader([header.strip("\r\n")], delimiter=separator, skipinitialspace=True), [])
