"""Type docs/tutorial.md from start to end in a fresh clone, and write what came out into it: `make tutorial`.

A comment in front of a block or a picture says what to do with it:

``<!-- file: NAME -->``        the block below is the content of that file
``<!-- run: KEEP -->``         the lines of the block below that begin with ``$`` are typed, the others are their output
``<!-- run: start -->``        the same in the background; the block shows the command alone
``<!-- run: until WORD -->``   the same, again and again until the output has that word
``<!-- run: ended, KEEP -->``  waits for what runs in the background; the block is its output
``<!-- picture: NAME = KIND ARGUMENTS | TEXT -->``  the picture is made (`docs/screens.py`) and shown below the comment

KEEP is ``all``, ``none``, ``first N`` or ``last N`` lines, or ``like REGULAR EXPRESSION``, each such line once.
"""

import argparse
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import screens

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/tutorial.md"
PICTURES = PAGE.parent / "images/tutorial"
STEP = re.compile(
    r"^<!-- (?:(?P<kind>file|run): (?P<argument>[^\n]+?) -->\n```\w+\n(?P<body>.*?)^```\n"
    r"|picture: (?P<name>\S+) = (?P<asked>[^|\n]+) \| (?P<text>[^\n]+?) -->\n(?:!\[[^\n]*\n)?)",
    re.MULTILINE | re.DOTALL,
)
PATIENCE = 3600.0  # s


class Typist:
    """A shell in the clone ``folder``."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.background: subprocess.Popen | None = None
        self.environment = os.environ | {
            "PATH": f"{ROOT / '.venv/bin'}:{os.environ['PATH']}",
            "PYTHONPATH": str(folder / "src"),
            "OMP_NUM_THREADS": "1",
            "NO_COLOR": "1",
        }

    def step(self, match: re.Match) -> str:
        """Do what a comment asks for; the text that takes its place, with the output of today."""
        comment = match[0].splitlines()[0]
        print(comment, file=sys.stderr, flush=True)
        if match["name"]:
            PICTURES.mkdir(parents=True, exist_ok=True)
            screens.make(match["asked"], PICTURES / match["name"], self.folder, self.environment)
            return f"{comment}\n![{match['text']}](images/tutorial/{match['name']})\n"
        if match["kind"] == "file":
            (self.folder / match["argument"]).write_text(match["body"])
            return match[0]
        begin, end = match.start("body") - match.start(), match.end("body") - match.start()
        return match[0][:begin] + self._block(match["argument"], match["body"]) + match[0][end:]

    def _block(self, argument: str, body: str) -> str:
        """The block ``body`` with the output of today."""
        what, _, rest = argument.partition(" ")
        if what == "ended,":
            return kept(self._ended(), rest)
        shown = []
        for line in (line[2:] for line in body.splitlines() if line.startswith("$ ")):
            shown.append(f"$ {line}\n")
            if what == "start":
                self.background = subprocess.Popen(["bash", "-c", line], **self._shell())
            elif what == "until":
                shown.append(self._until(line, rest))
            else:
                shown.append(kept(self._typed(line), argument))
        return "".join(shown)

    def _shell(self) -> dict[str, Any]:
        return {"cwd": self.folder, "env": self.environment, "text": True, "stdout": -1, "stderr": -2}

    def _typed(self, line: str) -> str:
        done = subprocess.run(["bash", "-c", line], **self._shell(), timeout=PATIENCE)
        _require(done.returncode == 0, line, done.stdout)
        return self._tidy(done.stdout)

    def _until(self, line: str, word: str) -> str:
        end = time.monotonic() + PATIENCE
        text = self._typed(line)
        while word not in text:
            ended = self.background is None or self.background.poll() is not None or time.monotonic() > end
            _require(not ended, line, f"{text}\nnever {word!r}")
            time.sleep(2)
            text = self._typed(line)
        return text

    def _ended(self) -> str:
        if self.background is None:
            raise SystemExit("error: nothing runs in the background; put `run: start` before `run: ended`")
        text, _ = self.background.communicate(timeout=PATIENCE)
        _require(self.background.returncode == 0, "the command in the background", text)
        return self._tidy(text)

    def _tidy(self, text: str) -> str:
        """Without colours, progress bars, and the place of the clone."""
        text = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text)
        lines = [line.rpartition("\r")[2].rstrip() for line in text.split("\n")]
        lines = [line for line in lines if not re.search(r"\d+%\|", line)]
        return "\n".join(lines).strip("\n").replace(str(self.folder), "~/gan-study") + "\n"


def kept(text: str, which: str) -> str:
    """Of ``text`` what KEEP asks for, with ``...`` where lines are left out at the beginning or the end."""
    lines = text.splitlines()
    how, _, argument = which.partition(" ")
    if how == "none":
        lines = []
    elif how == "first" and len(lines) > int(argument):
        lines = [*lines[: int(argument)], "..."]
    elif how == "last" and len(lines) > int(argument):
        lines = ["...", *lines[-int(argument) :]]
    elif how == "like":
        lines = list(dict.fromkeys(line for line in lines if re.search(argument, line)))
    return "".join(f"{line}\n" for line in lines)


def _require(fine: bool, command: str, output: str) -> None:
    if not fine:
        raise SystemExit(f"{output}\nerror: {command}: failed, see above")


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description="Type the tutorial in a fresh clone of this repository.")
    parser.add_argument("--folder", type=Path, required=True, help="for the clone; it must not exist")
    given = parser.parse_args()
    subprocess.run(["git", "clone", "--quiet", ROOT, given.folder], check=True)
    (given.folder / ".venv").symlink_to(ROOT / ".venv")
    PAGE.write_text(STEP.sub(Typist(given.folder.resolve()).step, PAGE.read_text()))


if __name__ == "__main__":
    main()
