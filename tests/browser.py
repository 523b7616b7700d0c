"""A page in headless Chromium, driven as a person does: over the DevTools protocol, through a pipe."""

import fcntl
import itertools
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

PATIENCE = 300  # seconds for an answer, on a machine with much else to do
KEYS = {"Enter": (13, "\r"), "Tab": (9, "")}


def chromium() -> str:
    """The program, or the test is skipped."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no chromium on this machine")
    return found


class Browser:
    """One tab; a context that ends the process. What is saved lands in ``folder / "saved"``."""

    def __init__(self, folder: Path):
        self.saved = folder / "saved"
        self.saved.mkdir()
        (read, self._write), (self._read, write) = os.pipe(), os.pipe()
        read, write = (fcntl.fcntl(one, fcntl.F_DUPFD, 20) for one in (read, write))

        def pipes() -> None:
            os.dup2(read, 3)
            os.dup2(write, 4)

        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-pipe"]
        words = [chromium(), *flags, f"--user-data-dir={folder / 'profile'}"]
        quiet: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen(words, preexec_fn=pipes, pass_fds=(3, 4), **quiet)
        os.close(read)
        os.close(write)
        self._count, self._buffer, self.events = itertools.count(1), b"", []
        self._session: str | None = None
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.send("Page.enable")
        self.send("Network.enable")
        self.send("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(self.saved))

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *error) -> None:
        self._process.terminate()
        self._process.wait()
        os.close(self._write)
        os.close(self._read)

    def send(self, method: str, **parameters) -> dict:
        """The result of a command."""
        number = next(self._count)
        message = {"id": number, "method": method, "params": parameters}
        message |= {"sessionId": self._session} if self._session else {}
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            found = self._receive()
            if found.get("id") == number:
                assert "error" not in found, found
                return found["result"]
            self.events.append(found)

    def open(self, path: Path) -> None:
        """Load a file, and wait for it."""
        self.events.clear()
        self.send("Page.navigate", url=path.resolve().as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._receive())

    def requested(self) -> list[str]:
        """The addresses that were asked for since `open`, but those within the page."""
        sent = [event["params"] for event in self.events if event.get("method") == "Network.requestWillBeSent"]
        return [one["request"]["url"] for one in sent if not one["request"]["url"].startswith(("data:", "blob:"))]

    def value(self, expression: str) -> Any:
        """What JavaScript says."""
        found = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def press(self, *keys: str) -> None:
        """Type keys, one after the other."""
        for key in keys:
            code, text = KEYS[key] if key in KEYS else (ord(key.upper()), key)
            common = {"key": key, "windowsVirtualKeyCode": code}
            self.send("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
            self.send("Input.dispatchKeyEvent", type="keyUp", **common)

    def file(self, name: str) -> Path:
        """A file that the page saved, once it is whole."""
        deadline = time.monotonic() + PATIENCE
        while not (self.saved / name).exists() or list(self.saved.glob("*.crdownload")):
            assert time.monotonic() < deadline, list(self.saved.iterdir())
            time.sleep(0.05)
        return self.saved / name

    def _receive(self) -> dict:
        deadline = time.monotonic() + PATIENCE
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], deadline - time.monotonic())
            assert ready, "chromium does not answer"
            part = os.read(self._read, 1 << 20)
            assert part, "chromium has ended"
            self._buffer += part
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)
