"""Fixtures of more than one test file."""

import http.server
import os
import shutil
import threading
from pathlib import Path

import pytest
import yaml

# One thread a test process: tests run side by side, and sums come out the same everywhere.
os.environ.setdefault("OMP_NUM_THREADS", "1")

REPOSITORY = Path(__file__).resolve().parent.parent
SCHEMA = REPOSITORY / "workflow/schemas/config.schema.yaml"
# The files that take longest, to be started first: then the workers end at about the same time.
LONGEST = ("cluster", "workflow", "gpu_benchmark", "deploy", "parallel", "ops_build", "families", "metrics_extractors")
LONGEST += ("realdata", "tracking", "ops_cuda", "benchmarks", "checkpoint")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first."""
    place = {f"test_{name}": index for index, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(place)))


@pytest.fixture
def config() -> dict:
    """The shipped config.yaml, free to be edited."""
    return yaml.safe_load((REPOSITORY / "config.yaml").read_text())


@pytest.fixture(autouse=True, scope="module")
def tiny_family(request):
    """Makes the family of tests/tinyfamily known in the test files that train it, and in no other."""
    if "TinyData" not in vars(request.module):
        yield
        return
    from tiny import TINY

    from gan.families.registry import families

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(families(), "tiny", TINY)
        yield


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Path:
    """A folder in which the tiny study has run to the end, to be copied: workers share it."""
    from driver import finished_study

    base = tmp_path_factory.getbasetemp()
    return finished_study(base.parent if "PYTEST_XDIST_WORKER" in os.environ else base)


@pytest.fixture
def study(finished, tmp_path) -> Path:
    """A copy of the finished study that a test may edit; times of files are kept."""
    return Path(shutil.copytree(finished, tmp_path / "study", symlinks=True))


@pytest.fixture(scope="session")
def served(tmp_path_factory):
    """A folder and the address at which a server on this machine gives its files."""
    folder = tmp_path_factory.mktemp("served")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(folder))

        def log_message(self, format, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real scans that GAN_REAL_DATA names."""
    folder = os.environ.get("GAN_REAL_DATA")
    if not folder:
        pytest.skip("GAN_REAL_DATA does not name a folder of real scans")
    return Path(folder)
