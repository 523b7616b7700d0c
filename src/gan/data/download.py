"""Download a file: it resumes after a broken connection, and the file is whole or absent."""

import json
import sys
import time
from pathlib import Path

import requests
from tqdm import tqdm

from gan.errors import GanError, full_disk

TRIES = 5
TIMEOUT = (15, 60)  # seconds to connect, and between two blocks
BLOCK = 1 << 20
AGAIN = {408, 425, 429, 500, 502, 503, 504}
TRANSIENT = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)


class _Interrupted(Exception):
    """A broken download that can be retried."""


def download(url: str, path: Path, *, pause: float = 1.0) -> None:
    """Download ``url`` (http or https) to ``path``, with a progress bar.

    Bytes go to ``<path>.part``, which stays after a failure, so that the next call resumes from there if the server
    still has the same file by its ETag, or else modification time and length; otherwise it starts again. Broken
    connections and busy servers are tried again, up to 5 times without progress, after ``pause`` times 1, 2, 4, ...
    seconds.

    Raises GanError when the server refuses, the line stays broken or the disk is full.
    """
    if not url.startswith(("http://", "https://")):
        raise GanError(f"url '{url}': not http or https; download the file and give its path as source")
    part = path.with_name(path.name + ".part")
    part.parent.mkdir(parents=True, exist_ok=True)
    failures = 0
    while True:
        before = _size(part)
        try:
            with full_disk(part):
                _attempt(url, part)
            break
        except (_Interrupted, *TRANSIENT) as error:
            failures = 1 if _size(part) > before else failures + 1
            if failures >= TRIES:
                raise GanError(
                    f"{url}: the download broke off {failures} times ({error}); {_size(part)} bytes are kept: "
                    "rerun to resume from there"
                ) from error
            time.sleep(pause * 2 ** (failures - 1))
        except requests.RequestException as error:
            raise GanError(f"{url}: cannot be downloaded ({error}); check the address") from error
    part.replace(path)
    _state_of(part).unlink(missing_ok=True)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _state_of(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _identity(url: str, response: requests.Response, total: int | None) -> dict[str, str | int | None]:
    """What distinguishes versions of a remote file."""
    headers = response.headers
    return {"url": url, "etag": headers.get("ETag"), "modified": headers.get("Last-Modified"), "total": total}


def _attempt(url: str, part: Path) -> None:
    state = _read_state(part)
    have = _size(part) if state and (state.get("etag") or state.get("modified")) and state.get("url") == url else 0
    if have and have == (state or {}).get("total"):
        return
    headers = {"Accept-Encoding": "identity"}  # lengths and offsets of the file itself
    if have:
        headers["Range"] = f"bytes={have}-"
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        if response.status_code == 416 and have:
            part.unlink()
            raise _Interrupted("the file on the server is not the one that was begun")
        if response.status_code in AGAIN:
            raise _Interrupted(f"status {response.status_code}")
        if not response.ok:
            raise GanError(f"{url}: the server answers {response.status_code} {response.reason}; check the address")
        start, total = _place(response)
        identity = _identity(url, response, total)
        if start and (start != have or identity != state):
            part.unlink()
            raise _Interrupted("the file on the server has changed")
        _state_of(part).write_text(json.dumps(identity), encoding="utf-8")
        _receive(response, part, start, total)


def _place(response: requests.Response) -> tuple[int, int | None]:
    """First byte that the server sends, and the length of the whole file if it says so."""
    if response.status_code == 206:
        span, _, total = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
        first = span.partition("-")[0]
        return (int(first) if first.isdigit() else -1), (int(total) if total.isdigit() else None)
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isdigit() else None


def _receive(response: requests.Response, part: Path, start: int, total: int | None) -> None:
    with (
        open(part, "ab" if start else "wb") as file,
        tqdm(
            total=total, initial=start, desc="download", unit="B", unit_scale=True, unit_divisor=1024, file=sys.stderr
        ) as bar,
    ):
        for block in response.iter_content(BLOCK):
            file.write(block)
            bar.update(len(block))
    if total is not None and _size(part) < total:
        raise _Interrupted(f"{_size(part)} of {total} bytes came")


def _read_state(part: Path) -> dict | None:
    try:
        return json.loads(_state_of(part).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
