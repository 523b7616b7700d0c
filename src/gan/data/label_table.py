"""Class names of subjects from a spreadsheet."""

from pathlib import Path

import pandas as pd

from gan.errors import GanError


def read_labels(rule: dict[str, str], subjects: set[str], root: Path) -> dict[str, str]:
    """Class name of each subject, from the columns ``rule["subject"]`` and ``rule["label"]`` of ``rule["table"]``.

    The table is a csv or xlsx file; a relative path that is not below the working folder is taken below ``root``,
    since some archives bring their spreadsheet along. Everything is read as text; rows of other subjects do no harm.

    Raises GanError for a missing file or column, a subject without a label, or one with two different labels.
    """
    path = Path(rule["table"])
    path = path if path.exists() else root / path
    try:
        table = pd.read_excel(path, dtype=str) if path.suffix == ".xlsx" else pd.read_csv(path, dtype=str)
    except FileNotFoundError as error:
        raise GanError(f"labels: table {rule['table']} is neither here nor below {root}; check the path") from error
    except (ValueError, OSError, KeyError) as error:
        raise GanError(f"{path}: cannot be read as a csv or xlsx table ({error}); save it again as csv") from error
    for column in (rule["subject"], rule["label"]):
        if column not in table.columns:
            raise GanError(f"{path}: no column '{column}'; it has {', '.join(map(str, table.columns))}")
    names = table[rule["subject"]].str.strip()
    pairs = pd.DataFrame({"subject": names, "label": table[rule["label"]].str.strip()}).dropna()
    labels: dict[str, str] = {}
    for subject, label in pairs.itertuples(index=False):
        if subject in subjects and labels.setdefault(subject, label) != label:
            raise GanError(f"{path}: two labels for subject {subject}, {labels[subject]} and {label}; keep one")
    if missing := sorted(subjects - labels.keys()):
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise GanError(
            f"{path}: no label in column '{rule['label']}' for subject {', '.join(missing[:5])}{more}; "
            "add them to the table or remove the subjects"
        )
    return labels
