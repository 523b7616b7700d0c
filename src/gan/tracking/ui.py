"""Serve the store of a study on this machine alone, and print the links that open the comparison."""

import contextlib
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from importlib.metadata import entry_points
from pathlib import Path

from gan.errors import GanError
from gan.served import serving
from gan.tracking import client as stores
from gan.tracking import views

from mlflow.entities import Experiment  # isort: skip  (after gan.tracking.client)

HOST = "127.0.0.1"
APP = "gan-study"  # entry point of mlflow.app: gan.tracking.app
START_S = 90


def serve(folder: Path, port: int) -> int:
    """Run MLflow's server for the store in ``folder`` until it is interrupted; returns its exit code.

    A port that is taken is replaced by the next free one, which is said. Raises `GanError` when there is no store, no
    free port or no answer.
    """
    path = stores.database(folder)
    if not path.exists():
        others = ", ".join(sorted(store.parent.name for store in path.parent.parent.glob(f"*/{stores.DATABASE}")))
        known = f", or name one that is: {others}" if others else ""
        raise GanError(f"{path}: no such file; publish the study first (`snakemake all`){known}")
    with contextlib.suppress(sqlite3.Error):  # a store that is locked or broken is the server's to report
        stores.settle(path)
    free, claim = free_port(port)
    if free != port:
        print(f"port {port} is in use; serving on {free}", file=sys.stderr)
    with claim, serving(path.parent, f"http://{HOST}:{free}"):
        return _serve(path, free)


def _serve(path: Path, free: int) -> int:
    for number in (signal.SIGINT, signal.SIGTERM):  # also where a shell had them ignored, or the server would stay
        signal.signal(number, signal.default_int_handler)
    server = subprocess.Popen(command(path, free), env=environment(path), cwd=path.parent)
    try:
        wait(f"http://{HOST}:{free}", server)
        for line in links(path, free):
            print(line, flush=True)
        print("Stop with Ctrl-C.", flush=True)
        return server.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        server.terminate()
        server.wait()


def command(path: Path, port: int) -> list[str]:
    """The server's command line: one worker, bound to this machine, files served from next to the store."""
    store = ["--backend-store-uri", f"sqlite:///{path}", "--artifacts-destination", str(path.parent / stores.ARTIFACTS)]
    quiet = ["--workers", "1", "--uvicorn-opts", "--log-level warning"]
    # A package that was installed before there was this app serves MLflow's own front page.
    app = ["--app-name", APP] if entry_points(group="mlflow.app", name=APP) else []
    return [sys.executable, "-m", "mlflow", "server", *store, "--host", HOST, "--port", str(port), *quiet, *app]


def environment(path: Path) -> dict[str, str]:
    """Without telemetry and without the job runner, which alone would start eight more processes; with the address
    that the bare one leads to: the curves of a study of one data set, else the list of its data sets."""
    found = _experiments(path)
    landing = views.entrance("", found[0][1], found[0][0].tags) if len(found) == 1 else "/#/experiments"
    own = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "GAN_UI_LANDING": landing}
    return {**os.environ, **own}


def free_port(first: int, tries: int = 50) -> tuple[int, socket.socket]:
    """The first free port from ``first`` on, and a claim to it while that socket is open: the server takes seconds to
    use it, and another call must not choose it meanwhile."""
    for port in range(first, min(first + tries, 65536)):
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind((HOST, port))
                claim.bind(f"\0gan-ui-{port}")  # a name without a file, which ends with the process
                return port, claim
        claim.close()
    raise GanError(f"--port {first}: no free port up to {first + tries - 1}; name another")


def wait(url: str, server: subprocess.Popen) -> None:
    """Return once the server answers; `GanError` when it ends or stays silent."""
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        if server.poll() is not None:
            raise GanError(f"mlflow server ended with exit code {server.returncode}; its own message is above")
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/health", timeout=2):
            return
        time.sleep(0.3)
    raise GanError(f"mlflow server has not answered on {url} for {START_S} s")


def links(path: Path, port: int) -> list[str]:
    """Lines to print: for each data set the address of every saved view."""
    lines = []
    for experiment, key in _experiments(path):
        lines.append(experiment.name)
        shown = [(view, view) for view in views.saved(experiment.tags)] or [("runs", None)]
        lines += [f"  {name:12}{views.link(f'http://{HOST}:{port}', key, view)}" for name, view in shown]
    return lines


def _experiments(path: Path) -> list[tuple[Experiment, str]]:
    """The experiments of data sets with their ids, by name; none in a store that cannot be read, which is the server's
    to report."""
    client = stores.MlflowClient(tracking_uri=f"sqlite:///{path}")
    try:
        found = sorted(client.search_experiments(), key=lambda item: item.name)
    except Exception:  # SQLAlchemy's and MLflow's own, of many kinds
        return []
    return [(one, one.experiment_id) for one in found if one.experiment_id != "0"]
