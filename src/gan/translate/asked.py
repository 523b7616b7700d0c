"""What a call asks for, and whether the generator can do it: contrasts, classes, paths."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from gan.errors import GanError
from gan.families.contract import Source
from gan.families.registry import families
from gan.files import read_json
from gan.sampling.snapshot import Snapshot
from gan.sampling.write import channel_names
from gan.scales import FULL_SCALE

ENDINGS = (".nii", ".nii.gz")


class Task(NamedTuple):
    """What a generator translates. masks: the largest label of each source that is a mask, else 0."""

    sources: list[str]
    targets: list[str]
    masks: list[int]


def task_of(snapshot: Snapshot, path: Path) -> Task:
    """The task of a generator; `GanError` if it is not to translate volumes or slices of them."""
    data = snapshot.data
    if families()[snapshot.family].model.request is not Source or not data.get("translate"):
        raise GanError(f"{path}: {snapshot.family} generates images from nothing; use gan generate, or a translator")
    if not data.get("spacing"):
        raise GanError(f"{path}: trained on pictures, which have no spacing; take a generator trained on volumes")
    masks = [0 if full == FULL_SCALE else full for full in data["source_full_scale"]]
    return Task(list(data["translate"]["source"]), channel_names(snapshot), masks)


def backward(snapshot: Snapshot, path: Path) -> Snapshot:
    """``snapshot`` with the facts of its way back; `GanError` if its family learned none, or not for single slices."""
    data = snapshot.data
    if not families()[snapshot.family].model.both_ways:
        raise GanError(f"{path}: --reverse: {snapshot.family} translates in one direction; train another row")
    if snapshot.shape.neighbours or set(data["source_full_scale"]) != {FULL_SCALE}:
        raise GanError(f"{path}: --reverse: its sources are more than single contrasts; train another row")
    task = data["translate"]
    turned = {"channels": task["source"], "translate": task | {"source": task["target"], "target": task["source"]}}
    turned |= {"full_scale": data["source_full_scale"], "source_full_scale": data["full_scale"]}
    return replace(snapshot, data=data | turned)


def label_of(snapshot: Snapshot, name: str | None) -> int | None:
    """The class called ``name``, None for an unconditional generator; `GanError` if it is not known or missing."""
    if name is None and snapshot.labels:
        raise GanError(f"the generator is conditional: say the class of the scan, --label {'|'.join(snapshot.labels)}")
    return None if name is None else snapshot.class_of(name)


def referred(words: list[str], targets: list[str]) -> dict[str, Path]:
    """The paths of --reference, which need no name where there is one target; errors as of `named`."""
    alone = len(targets) == 1 and len(words) == 1 and "=" not in words[0]
    return named([f"{targets[0]}={words[0]}"] if alone else words, targets, "--reference")


def named(words: list[str], known: list[str], option: str) -> dict[str, Path]:
    """Paths by contrast; `GanError` for a contrast that is not ``known``, and for one that is named twice."""
    found: dict[str, Path] = {}
    for word in words:
        name, equals, path = word.partition("=")
        if not equals or not path:
            raise GanError(f"{option} {word}: name its contrast, as in {option} {known[0]}={word}")
        if name not in known:
            raise GanError(
                f"{option} {word}: {name} has no place there in this translation; allowed: {', '.join(known)}"
            )
        if name in found:
            raise GanError(f"{option} {word}: {name} is there twice; give each contrast once")
        found[name] = Path(path)
    return found


def require_inputs(inputs: dict[str, Path], task: Task, snapshot: Snapshot) -> None:
    """`GanError` if a source is missing, unless the family learned to do without (option drop_inputs)."""
    missing = [name for name in task.sources if name not in inputs]
    if not missing:
        return
    if not snapshot.options.get("drop_inputs"):
        raise GanError(f"--input: {', '.join(missing)} is missing, which {snapshot.family} was trained with; add it")
    print(f"{', '.join(missing)}: not given, translated without")


def outputs_of(out: list[str], targets: list[str]) -> dict[str, Path]:
    """The path of each target."""
    if len(out) == 1 and "{contrast}" in out[0]:
        out = [out[0].replace("{contrast}", name) for name in targets]
    if len(out) != len(targets):
        raise GanError(
            f"--out: {len(out)} for the targets {', '.join(targets)}; give one each, or one with {{contrast}} in it"
        )
    for path in out:
        if not path.lower().endswith(ENDINGS):
            raise GanError(f"--out {path}: only NIfTI is written; end it in {' or '.join(ENDINGS)}")
    return dict(zip(targets, map(Path, out), strict=True))


def deviation_of(path: Path) -> Path:
    """The path of the standard deviation of the volume ``path``: ``out_sd.nii.gz`` of ``out.nii.gz``."""
    ending = next(one for one in reversed(ENDINGS) if path.name.lower().endswith(one))
    return path.with_name(f"{path.name[: -len(ending)]}_sd{path.name[-len(ending) :]}")


def units_of(snapshot: Snapshot, targets: list[str], path: Path) -> dict[str, list[float]]:
    """By target the ends of the scale 0..255 in the scanner's units, medians of the training subjects.

    `GanError` if the generator's file has none.
    """
    known = snapshot.data.get("limits") or {}
    if missing := [name for name in targets if name not in known]:
        raise GanError(
            f"{path}: --units training: the file has no limits of {', '.join(missing)}, as its intensity map is by "
            f"slice or an earlier version trained it; take the scale 0..255"
        )
    return {name: known[name] for name in targets}


def refuse_paths(outputs: list[Path], inputs: list[Path]) -> None:
    """`GanError` for an output that is an input, another output, or a file that this command has not written."""
    read = {path.resolve() for path in inputs}
    written: set[Path] = set()
    for path in outputs:
        if path.resolve() in read | {folder for folder in path.resolve().parents if folder in read}:
            raise GanError(f"--out {path}: it is an input, or in the folder of one; name another file")
        if path.resolve() in written:
            raise GanError(f"--out {path}: it is there twice; name a file for each target")
        written.add(path.resolve())
        if path.exists() and not (record_of(path).exists() and "translated" in read_json(record_of(path))):
            raise GanError(f"--out {path}: there is a file that gan translate has not written; name another one")


def record_of(path: Path) -> Path:
    """The file that says what made the volume ``path``."""
    return path.with_name(f"{path.name}.json")
