"""What a row's pattern asks of the paths below a folder, and what to say when nothing matches. No numpy, no torch."""

import re
from pathlib import Path

from gan.data.endings import unread
from gan.data.found import Row, channels
from gan.data.notices import shown
from gan.data.patterns import compile_pattern, files_below
from gan.errors import GanError

EXPECTED = {
    "bids": "sub-<label>/[ses-<label>/]anat/sub-<label>[_ses-<label>]_<suffix>.nii.gz",
    "brats": "<class>/<case>/<case>-<contrast>.nii.gz",
    "chaos": "MR/<id>/T1DUAL/DICOM_anon/InPhase",
    "ixi": "IXI012-HH-1211-T1.nii.gz",
    "images": "train/<class>/*.png, test/<class>/*.png",
}


def enclosing(root: Path) -> list[Path]:
    """``root`` and, as long as it is the only entry of its parent, the folder inside."""
    folders = [root]
    while len(entries := [e for e in folders[-1].iterdir() if not e.name.startswith((".", "__MACOSX"))]) == 1:
        if not entries[0].is_dir() or len(folders) > 4:
            break
        folders.append(entries[0])
    return folders


def pattern_rules(row: Row) -> list[tuple[re.Pattern[str], str | None]]:
    """The expressions of the row's pattern, each with its contrast, or None where a group of it is the contrast.

    The one with the most text is first: ``s1_seg.nii`` is of ``{subject}_seg.nii``, not of ``{subject}.nii``.
    Raises `GanError` for a pattern that cannot tell the contrasts apart.
    """
    pattern, wanted = row["pattern"], channels(row)
    if not pattern:
        raise GanError(f"layout {row['layout']}: it needs a pattern, such as '{{subject}}_{{contrast}}.nii.gz'")
    if isinstance(pattern, dict):
        if missing := [contrast for contrast in wanted if contrast not in pattern]:
            raise GanError(f"pattern: no entry for {', '.join(missing)}; give a pattern for each contrast and the mask")
        narrow = sorted(wanted, key=lambda contrast: -len(re.sub(r"\{[^{}]*\}|\*", "", pattern[contrast])))
        return [(compile_pattern(pattern[contrast], [contrast]), contrast) for contrast in narrow]
    if "{contrast}" in pattern:
        return [(compile_pattern(pattern, wanted), None)]
    if len(wanted) == 1:
        return [(compile_pattern(pattern), wanted[0])]
    raise GanError(
        f"pattern '{pattern}': without {{contrast}} it cannot tell {', '.join(wanted)} apart; add {{contrast}}, "
        "or give a pattern for each contrast"
    )


def nothing(row: Row, root: Path, contrast: str = "") -> str:
    """The message for a ``root`` where nothing matches, or nothing for one ``contrast``."""
    files = files_below(root)
    if not files:
        return f"{root}: the folder is empty; check the data set's source"
    wanted = f"pattern '{row['pattern']}'" if row["layout"] in ("nifti", "dicom") else EXPECTED[row["layout"]]
    what = f"contrast {contrast} of layout" if contrast else "layout"
    hint = unread(files)
    example = f"a file found there: {shown(files[len(files) // 2])}"
    return f"{root}: nothing matches {what} {row['layout']} ({wanted}); {example}{hint and '; '}{hint}"
