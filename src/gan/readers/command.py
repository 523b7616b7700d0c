"""``gan readers make`` and ``gan readers score``: pages on which people read images, and what their answers say."""

import argparse
from pathlib import Path

from gan.errors import GanError, command
from gan.runtime import DEVICES


@command
def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    given = _arguments(argv)
    if given.step == "make":
        _make(given)
    else:
        _score(given)


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="gan readers", description="A reading of images by people.")
    steps = parser.add_subparsers(dest="step", required=True, metavar="make|score")
    step = steps.add_parser("make", help="pages for readers, and their key")
    step.add_argument("--study", type=Path, required=True, help="folder of a finished study: results/<study>")
    step.add_argument("--variants", nargs="+", required=True, help="variants whose images are read")
    step.add_argument("--dataset", help="the data set, if the study has several")
    step.add_argument("--training-seed", type=int, metavar="SEED", help="of the cells; default: the first of a variant")
    step.add_argument("--n", type=int, default=100, help="real images, and images of each variant (%(default)s)")
    step.add_argument("--readers", type=int, default=3, help="number of readers, with a page each (%(default)s)")
    step.add_argument("--seed", type=int, default=0, help="decides the images and all orders (%(default)s)")
    step.add_argument("--truncation", type=float, default=1.0, help="0 to 1: less is more typical (%(default)g)")
    step.add_argument("--warmup", type=int, default=10, help="images before those that count (%(default)s)")
    step.add_argument("--feedback", action="store_true", help="say after each image of the warm-up what it was")
    step.add_argument("--tell-share", action="store_true", help="say how many images are real")
    step.add_argument("--repeat", type=float, default=0.1, metavar="SHARE", help="of images shown twice (%(default)g)")
    step.add_argument("--contrast", help="show this contrast alone; default: all side by side")
    step.add_argument("--enlarge", type=int, help="whole factor; default: the largest that fits 1024 x 512 px")
    step.add_argument("--pixels", action="store_true", help="enlarge each pixel to a square, without interpolation")
    step.add_argument("--name", help="of the folder in <study>/readers; default: the data set")
    step.add_argument("--device", choices=DEVICES, default="auto")
    step = steps.add_parser("score", help="what the answers say")
    step.add_argument("key", type=Path, help="key.json of the reading")
    step.add_argument("answers", type=Path, nargs="+", help="a file that each reader's page saved")
    step.add_argument("--resamples", type=int, default=2000, help="of the bootstrap (%(default)s)")
    step.add_argument("--seed", type=int, default=0, help="of the bootstrap (%(default)s)")
    step.add_argument("--out", type=Path, help="folder of the results; default: that of the key")
    return _checked(parser.parse_args(argv))


def _checked(given: argparse.Namespace) -> argparse.Namespace:
    """``given``; `GanError` names the option out of range."""
    if given.seed < 0:
        raise GanError(f"--seed is {given.seed}; allowed: from 0")
    if given.step == "score":
        if given.resamples < 100:
            raise GanError(f"--resamples is {given.resamples}; allowed: from 100")
        return given
    for option, least in (("n", 2), ("readers", 1), ("warmup", 0), ("enlarge", 1)):
        value = getattr(given, option)
        if value is not None and value < least:
            raise GanError(f"--{option} is {value}; allowed: from {least}")
    for option, most in (("truncation", 1.0), ("repeat", 0.5)):
        if not 0 <= getattr(given, option) <= most:
            raise GanError(f"--{option} is {getattr(given, option):g}; allowed: 0 to {most:g}")
    if given.feedback and not given.warmup:
        raise GanError("--feedback is of the warm-up, and --warmup is 0; leave one out")
    if len(set(given.variants)) < len(given.variants):
        raise GanError("--variants names one twice; name each once")
    if given.name is not None and Path(given.name).name != given.name:
        raise GanError(f"--name is {given.name!r}; give the name of a folder, not a path")
    return given


def _make(given: argparse.Namespace) -> None:
    from gan.data.store import Store
    from gan.readers import make, page, pool
    from gan.readers.questions import READERS
    from gan.train.device import pick_device

    cells = pool.cells_of(given.study, given.dataset, given.variants, given.training_seed)
    store = Store.open(given.study / "data" / cells[0].dataset / "store")
    plan = make.Plan(
        images=given.n,
        readers=given.readers,
        seed=given.seed,
        truncation=given.truncation,
        warm_up=given.warmup,
        again=given.repeat,
        contrast=given.contrast,
        enlarge=given.enlarge,
        smooth=not given.pixels,
        rules=page.Rules(feedback=given.feedback, share=given.tell_share),
    )
    reading = make.compose(cells, store, plan, str(pick_device(given.device)))
    folder = given.study / READERS / (given.name or cells[0].dataset)
    make.write(reading, folder)
    print("\n".join(make.summary(reading, folder)))


def _score(given: argparse.Namespace) -> None:
    from gan.readers import score, show

    result = score.score(given.key, given.answers, given.resamples, given.seed)
    folder = given.out or given.key.parent
    show.write(result, folder)
    print(show.text(result))
    print(f"\nWritten to {folder}: {', '.join(show.FILES)}")
