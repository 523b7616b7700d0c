"""Opening an MLflow store: a local SQLite file that is whole or absent, or a server, given up soon when silent."""

import contextlib
import logging
import os
import sqlite3
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

# Read when MLflow is imported or called. A dead server would otherwise hold each call for minutes.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
os.environ.setdefault("MLFLOW_ENABLE_ASYNC_LOGGING", "false")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from gan.files import take_lock
from gan.served import STATE

DATABASE, ARTIFACTS = "mlflow.db", "mlartifacts"
LOCK_WAIT_S = 3


class Unavailable(Exception):
    """The store cannot be written now; the message says why and what to do."""


def database(folder: Path) -> Path:
    """The SQLite file of a study."""
    return folder.resolve() / DATABASE


def connect(uri: str | None, folder: Path) -> MlflowClient:
    """A client for the server ``uri``, or without one for the store in ``folder``, made when it is missing.

    Raises `Unavailable` within seconds when the server does not answer or another program holds the store.
    """
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    if uri is None:
        path = database(folder)
        if not path.exists():
            _create(path)
        _check_writable(path)
        settle(path)
        uri = f"sqlite:///{path}"
        # MLflow keeps connections open by address: without this a store that was deleted meanwhile would be written on.
        SqlAlchemyStore(uri, str(path.parent / ARTIFACTS)).engine.dispose()
    elif uri.startswith(("http://", "https://")):
        _check_answers(uri)
    else:  # MLflow would take a database, and keep its artifacts below whatever folder it is called from
        raise Unavailable(f"tracking.uri {uri} is not the address of a server; write http://host:5000, or null")
    return MlflowClient(tracking_uri=uri)


def settle(path: Path) -> None:
    """Let the SQLite store ``path`` keep its artifacts next to it: MLflow stores absolute places, and those of a study
    that was moved or copied would be the old ones."""
    now = (path.parent / ARTIFACTS).as_uri()
    with contextlib.closing(sqlite3.connect(path, timeout=LOCK_WAIT_S)) as connection, connection:
        for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
            for (old,) in connection.execute(f"SELECT DISTINCT {column} FROM {table}").fetchall():
                before, found, below = (old or "").rpartition(f"/{ARTIFACTS}/")
                if found and f"{before}/{ARTIFACTS}" not in (now, str(path.parent / ARTIFACTS)):
                    new = f"{now}/{below}"
                    connection.execute(f"UPDATE {table} SET {column} = ? WHERE {column} = ?", (new, old))


def drop_default(client: MlflowClient) -> None:
    """Delete the empty experiment that MLflow puts into every new store, if nobody has used it."""
    with contextlib.suppress(MlflowException):
        if client.get_experiment("0").lifecycle_stage == "active" and not client.search_runs(["0"], max_results=1):
            client.delete_experiment("0")


@contextlib.contextmanager
def single_writer(folder: Path) -> Iterator[None]:
    """Hold the right to publish into ``folder``; a second publisher gets `Unavailable`."""
    path = folder / STATE / "lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as file:
        try:
            free = take_lock(file)
        except OSError as error:
            raise Unavailable(
                f"{path}: no locks on this file system ({error}); put the study on another one"
            ) from error
        if not free:
            raise Unavailable("another process is publishing this study; publish again when it has ended")
        yield


def _create(path: Path) -> None:
    """Make an empty store under a temporary name and link it into place, so that a kill leaves no half-made store."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".part-mlflow-") as aside:
        temporary = Path(aside) / DATABASE
        SqlAlchemyStore(f"sqlite:///{temporary}", str(path.parent / ARTIFACTS)).engine.dispose()
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)


def _check_writable(path: Path) -> None:
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=LOCK_WAIT_S)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.rollback()
    except sqlite3.OperationalError as error:
        reason = "is locked by another program; close it (the user interface, a copy) and publish again"
        raise Unavailable(f"{path} {reason if 'locked' in str(error) else error}") from error
    except sqlite3.DatabaseError as error:
        raise Unavailable(f"{path} is not a database ({error}); delete it and publish again") from error


def _check_answers(uri: str) -> None:
    try:
        with urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=5):
            return
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise Unavailable(f"{uri} does not answer ({reason}); start the server or correct tracking.uri") from error
