"""``gan init my_study``: a folder to work in, with a Snakefile that loads the workflow, the config and the profiles."""

import argparse
import re
import shutil
from pathlib import Path

from gan import project
from gan.errors import GanError, command

SNAKEFILE = """\
# The workflow of the installed package gan-study; `snakemake -n all` shows the plan for config.yaml, which lies here.
from gan.project import snakefile


include: snakefile()
"""
COPIED = ("config.yaml", "demo.yaml", "slurm/config.yaml", "profiles/default/config.yaml")


@command
def main(argv: list[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(
        prog="gan init",
        description="Write Snakefile, configs and profiles of a study into an empty folder.",
    )
    parser.add_argument("folder", type=Path, help="the folder to work in, made if it is not there")
    folder = parser.parse_args(argv).folder
    start(folder)
    print(f"{folder}: Snakefile, {', '.join(COPIED)}")
    print(f"next: cd {folder}; snakemake --cores 2 all --configfile demo.yaml tries it on the embedded phantom")
    print("yours: gan inspect /folder/of/scans proposes a row for config.yaml; then snakemake -n all")
    return 0


def start(folder: Path) -> None:
    """Fill ``folder``; `GanError` if it holds anything."""
    source = project.root()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise GanError(f"{folder}: not empty; name a new folder, as a study never shares one with other files")
    for name in COPIED:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, folder / name)
    own = folder.resolve().name
    if re.fullmatch(r"[a-z0-9_]{1,64}", own):
        path = folder / "config.yaml"
        text = path.read_text(encoding="utf-8")
        path.write_text(re.sub(r"(?m)^(study:\n  name: ).*$", rf"\g<1>{own}", text), encoding="utf-8")
    (folder / "Snakefile").write_text(SNAKEFILE, encoding="utf-8")
