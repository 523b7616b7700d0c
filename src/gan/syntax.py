"""Faults of a YAML file with their line, before Snakemake reads it. No numpy, no torch."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from gan.errors import GanError

EXPANDED = 100_000  # values that a file may have with all its anchors written out
OVERLAYS = ("--configfile", "--configfiles")


def check_syntax(path: str | Path) -> None:
    """`GanError` that names the line where the file ``path`` is not YAML, repeats a key, or contains itself.

    A file that is absent is no concern here.
    """
    import yaml

    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        return
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise GanError(f"{path}: line {line}: a byte that is not UTF-8; save the file as UTF-8") from error
    try:
        document = yaml.compose(text, yaml.SafeLoader)
        if not isinstance(document, yaml.MappingNode):
            found = "nothing" if document is None else f"a {document.id}"
            raise GanError(f"{path}: holds {found}, not keys with values; write for example study: {{name: mine}}")
        _size(document, path, (), {})
        yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        place = error.problem_mark or error.context_mark
        where = f"line {place.line + 1}, column {place.column + 1}" if place else "somewhere"
        raise GanError(f"{path}: {where}: {error.problem or error.context}; correct it there or just above") from error
    except yaml.reader.ReaderError as error:
        line = text[: int(error.position)].count("\n") + 1
        raise GanError(f"{path}: line {line}: a character that YAML does not allow; remove it") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise GanError(f"{path}: not YAML ({(str(error).splitlines() or ['empty'])[0]}); correct it") from error


def check_overlays(words: Sequence[str] | None = None) -> None:
    """Check the files that a call of Snakemake names by ``--configfile``; ends the program with one line for a fault.

    words: of the command line, by default that of this process. The default profile calls it, as Snakemake reads these
    files before the Snakefile, and names no line; for a target that the option has swallowed it shows a traceback.
    """
    try:
        for option, path in _named(sys.argv[1:] if words is None else words):
            if not path.exists():
                raise GanError(
                    f"{option} {path}: no such file; the option takes every word that follows it, so a target goes in "
                    f"front of it or after --, as in: snakemake --cores 2 --configfile my_study.yaml -- all"
                )
            if path.is_file() and path.suffix != ".json":
                check_syntax(path)
    except GanError as error:
        sys.exit(f"error: {error}")


def _named(words: Sequence[str]) -> Iterator[tuple[str, Path]]:
    """The words after each of the options `OVERLAYS`, up to the next option; after ``=`` one."""
    taking = ""
    for word in words:
        if word.startswith("-"):
            option, joined, value = word.partition("=")
            taking = option if option in OVERLAYS and not joined else ""
            if option in OVERLAYS and value:
                yield option, Path(value)
        elif taking:
            yield taking, Path(word)


def _size(node: object, path: str | Path, above: tuple[int, ...], known: dict[int, int]) -> int:
    """The number of values at and below a composed ``node``, after a look at its keys."""
    import yaml

    if not isinstance(node, yaml.CollectionNode):
        return 1
    line = node.start_mark.line + 1
    if id(node) in above:
        raise GanError(f"{path}: line {line}: contains itself; write out what it refers to")
    if id(node) not in known:
        children = node.value
        if isinstance(node, yaml.MappingNode):
            _check_keys(node, path)
            children = [part for pair in node.value for part in pair]
        known[id(node)] = 1 + sum(_size(child, path, (*above, id(node)), known) for child in children)
        if known[id(node)] > EXPANDED:
            raise GanError(f"{path}: line {line}: more than {EXPANDED} values with its anchors written out; shorten it")
    return known[id(node)]


def _check_keys(node, path: str | Path) -> None:
    """`GanError` for a key that a mapping has twice; YAML would take the last one in silence."""
    lines: dict[str, int] = {}
    for key, _ in node.value:
        line, name = key.start_mark.line + 1, str(key.value)
        if key.tag != "tag:yaml.org,2002:merge" and name in lines:
            raise GanError(
                f"{path}: line {line}: the key {name!r} is given twice, also in line {lines[name]}; keep one"
            )
        lines[name] = line
