"""Sources: folders, archives, downloads that break, and what a bad one leaves behind (nothing)."""

import errno
import hashlib
import http.server
import io
import os
import stat
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gan.data import archives, download, folders
from gan.data.sources import fetch
from gan.errors import GanError

NOISE = b"".join(hashlib.sha256(bytes([k])).digest() for k in range(64))  # does not compress
FILES = {"a/one.txt": b"1" * 3000, "a/b/two.txt": b"22"}


def make_zip(path: Path, files: dict[str, bytes] = FILES) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def make_tar(path: Path, files: dict[str, bytes] = FILES, **change) -> Path:
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            for key, value in change.items():
                setattr(member, key, value)
            archive.addfile(member, io.BytesIO(content))
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def place(tmp_path) -> Path:
    """The folder that holds the data set's files in a study."""
    return tmp_path / "study" / "data"


def test_folder_is_linked_and_stays_as_it_is(tmp_path, place, monkeypatch):
    user = tmp_path / "mine"
    user.mkdir()
    (user / "x.nii").write_bytes(b"x")
    raw = fetch({"path": str(user), "sha256": None}, place / "raw")
    assert raw == place / "raw" and raw.is_symlink() and contents(raw) == {"x.nii": b"x"}
    monkeypatch.setenv("GAN_TEST_FOLDER", str(tmp_path))
    other = tmp_path / "other"
    other.mkdir()
    (other / "y.nii").write_bytes(b"y")
    fetch({"path": "$GAN_TEST_FOLDER/other"}, place / "raw")
    assert contents(raw) == {"y.nii": b"y"} and contents(user) == {"x.nii": b"x"}
    fetch({"path": str(make_zip(tmp_path / "z.zip"))}, place / "raw")
    assert contents(raw) == FILES and contents(other) == {"y.nii": b"y"}


def test_a_pipe_is_no_source(tmp_path, place):
    os.mkfifo(tmp_path / "x.nii.gz")
    with pytest.raises(GanError, match=r"x.nii.gz: a pipe, socket or device; give a folder or a file"):
        fetch({"path": str(tmp_path / "x.nii.gz")}, place / "raw")


@pytest.mark.parametrize("name", ["a.NII.GZ", "a.mgz", "a.nrrd"])
def test_a_single_volume_is_copied(name, tmp_path, place):
    (tmp_path / name).write_bytes(b"x")
    assert contents(fetch({"path": str(tmp_path / name)}, place / "raw")) == {name: b"x"}


@pytest.mark.parametrize("suffix", ["zip", "tar", "tar.gz"])
def test_archive_is_unpacked(suffix, tmp_path, place):
    make = make_zip if suffix == "zip" else make_tar
    path = make(tmp_path / f"set.{suffix}")
    raw = fetch({"path": str(path), "sha256": sha256(path).upper()}, place / "raw")
    assert contents(raw) == FILES
    assert [entry.name for entry in place.iterdir()] == ["raw"]


def test_phantom(place):
    settings = {"subjects": 2, "matrix": 32, "spacing": 6.0, "tumours": 1.0, "seed": 0}
    raw = fetch({"phantom": settings}, place / "raw", workers=2)
    assert len(contents(raw)) == 10 and [entry.name for entry in place.iterdir()] == ["raw"]
    with pytest.raises(GanError, match="subjects is 0"):
        fetch({"phantom": {**settings, "subjects": 0}}, place / "raw")
    assert len(contents(raw)) == 10  # the earlier result is intact


def test_what_a_killed_run_left_is_cleared(tmp_path, place, monkeypatch):
    path = make_zip(tmp_path / "set.zip")
    with monkeypatch.context() as patch:  # a process that dies at once cleans nothing up
        patch.setattr(folders.shutil, "rmtree", lambda *_, **__: None)
        patch.setattr(archives, "_write", lambda member, target, bar: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            fetch({"path": str(path)}, place / "raw")
    assert list(place.iterdir()) and not (place / "raw").exists()
    assert contents(fetch({"path": str(path)}, place / "raw")) == FILES
    assert [entry.name for entry in place.iterdir()] == ["raw"]


def with_link(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        link = zipfile.ZipInfo("way/out")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr("before.txt", "x")
        archive.writestr(link, "/etc/passwd")
    return path


def encrypted(path: Path) -> Path:
    make_zip(path, {"x": b"x"})
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1  # the flag of encryption in the central directory
    path.write_bytes(data)
    return path


def truncated(path: Path, make: Callable, part: float) -> Path:
    data = make(path, {f"{k}.bin": NOISE for k in range(9)}).read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    return path


def ending_between_members(path: Path) -> Path:
    make_tar(path, {"one": b"1" * 512, "two": b"2" * 512})
    path.write_bytes(path.read_bytes()[:1024])
    return path


def wrong_checksum(path: Path, kind: str) -> Path:
    """The content is whole, and the checksum behind it is not its own."""
    with tarfile.open(path, f"w:{kind}") as archive:
        for name in "ab":
            member = tarfile.TarInfo(name)
            member.size = len(NOISE)
            archive.addfile(member, io.BytesIO(NOISE))
    data = bytearray(path.read_bytes())
    data[{"gz": -8, "bz2": -4, "xz": -16}[kind]] ^= 0xFF
    path.write_bytes(data)
    return path


def bad_name(path: Path) -> Path:
    """A member whose name says that it is UTF-8 and is not."""
    make_zip(path, {"\u00fc": b"x"})
    path.write_bytes(path.read_bytes().replace("\u00fc".encode(), b"\xff\xff"))
    return path


def damaged_member(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", NOISE)
    path.write_bytes(path.read_bytes().replace(NOISE, b"!" + NOISE[1:]))
    return path


BAD = {
    "dots": (lambda p: make_zip(p / "x.zip", {"ok": b"", "../evil": b"x"}), r"x\.zip: member '\.\./evil'.*outside"),
    "dots, tar": (lambda p: make_tar(p / "x.tar", {"a/../../evil": b""}), r"x\.tar: member 'a/\.\./\.\./evil'"),
    "backslash": (lambda p: make_zip(p / "x.zip", {"..\\evil": b""}), "outside its folder"),
    "absolute": (lambda p: make_tar(p / "x.tar", {"/tmp/evil": b""}), "member '/tmp/evil' would be written outside"),
    "drive": (lambda p: make_zip(p / "x.zip", {"C:/evil": b""}), "member 'C:/evil' would be written outside"),
    "link": (lambda p: with_link(p / "x.zip"), "member 'way/out' is a link"),
    "link, tar": (
        lambda p: make_tar(p / "x.tar.gz", {"l": b""}, type=tarfile.SYMTYPE, linkname="/etc"),
        r"x\.tar\.gz: member 'l' is a link",
    ),
    "hard link": (lambda p: make_tar(p / "x.tar", {"l": b""}, type=tarfile.LNKTYPE, linkname="k"), "'l' is a link"),
    "device": (lambda p: make_tar(p / "x.tar", {"d": b""}, type=tarfile.CHRTYPE), "'d' is a link or device"),
    "encrypted": (lambda p: encrypted(p / "x.zip"), "member 'x' is encrypted"),
    "truncated zip": (lambda p: truncated(p / "x.zip", make_zip, 0.5), r"x\.zip: broken or truncated"),
    "truncated tar": (lambda p: truncated(p / "x.tar", make_tar, 0.3), r"x\.tar: broken or truncated"),
    "truncated tar.gz": (lambda p: truncated(p / "x.tar.gz", make_tar, 0.7), r"x\.tar\.gz: broken or truncated"),
    "tar without end": (lambda p: ending_between_members(p / "x.tar"), r"x\.tar: broken or truncated.*no end mark"),
    "no archive": (lambda p: truncated(p / "x.zip", make_tar, 1), r"x\.zip: broken"),
    "checksum of tar.gz": (lambda p: wrong_checksum(p / "x.tar.gz", "gz"), r"x\.tar\.gz: broken .*CRC check failed"),
    "checksum of tar.bz2": (lambda p: wrong_checksum(p / "x.tar", "bz2"), r"x\.tar: broken or truncated"),
    "checksum of tar.xz": (lambda p: wrong_checksum(p / "x.tar", "xz"), r"x\.tar: broken or truncated"),
    "checksum of zip": (lambda p: damaged_member(p / "x.zip"), r"x\.zip: broken or truncated .*Bad CRC-32"),
    "tar.gz that is none": (
        lambda p: truncated(p / "x.tar.gz", make_zip, 1),
        r"x\.tar\.gz: broken or truncated archive",
    ),
    "name of zip": (lambda p: bad_name(p / "x.zip"), r"x\.zip: broken or truncated archive"),
    "empty file": (lambda p: truncated(p / "x.tar", make_tar, 0), r"x\.tar: broken"),
    "empty archive": (lambda p: make_zip(p / "x.zip", {}), "the archive is empty"),
    "other file": (lambda p: make_zip(p / "x.rar"), "unpack it and give the folder"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_archive_is_named_and_leaves_nothing(name, tmp_path, place):
    make, message = BAD[name]
    path = make(tmp_path)
    with pytest.raises(GanError, match=message) as caught:
        fetch({"path": str(path)}, place / "raw")
    assert "\n" not in str(caught.value) and not list(place.iterdir())
    assert not list(tmp_path.rglob("*evil*")) and not Path("/tmp/evil").exists()


def test_larger_than_the_disk(tmp_path, place, monkeypatch):
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 3001})())
    with pytest.raises(GanError, match=r"set\.zip: it unpacks to .* GB free"):
        fetch({"path": str(make_zip(tmp_path / "set.zip"))}, place / "raw")
    assert not list(place.iterdir())


def test_disk_full_while_unpacking(tmp_path, place, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(archives, "_write", full)
    with pytest.raises(GanError, match="no space left"):
        fetch({"path": str(make_zip(tmp_path / "set.zip"))}, place / "raw")
    assert not list(place.iterdir())


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"path": "nowhere"}, "nowhere: no such file or folder"),
        ({"path": "$UNSET_FOLDER/x"}, "the environment variable UNSET_FOLDER is not set"),
        ({"path": "void"}, "void: the folder is empty"),
        ({"path": "full", "sha256": "0" * 64}, "a checksum needs a file"),
        (
            {"path": "set.zip", "sha256": "0" * 64},
            rf"set\.zip: its sha256 is [0-9a-f]{{64}}, not {'0' * 64}.*get it again",
        ),
        ({"path": "set.zip", "md5": "0" * 32}, rf"set\.zip: its md5 is [0-9a-f]{{32}}, not {'0' * 32}"),
        ({"path": "set.zip", "sha256": "12"}, "source.sha256: '12' is not 64 hex digits"),
        ({"path": "."}, "results are inside it"),
        ({"url": "ftp://host/x.zip"}, "not http or https"),
        ({"url": "http://host/"}, "names no file"),
        ({}, "needs one of the keys path, url, phantom"),
    ],
)
def test_bad_source_is_named_and_leaves_nothing(source, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("void", "full/x"):
        Path(name).mkdir(parents=True)
    make_zip(tmp_path / "set.zip")
    with pytest.raises(GanError, match=message):
        fetch({"path": None, "url": None, "phantom": None, **source}, tmp_path / "study/raw")
    assert not [path for path in (tmp_path / "study").rglob("*") if path.is_file() or path.name == "raw"]


class Server(http.server.ThreadingHTTPServer):
    """Gives ``content`` under any path, by ranges if ``ranges``; ``breaks``: after how many bytes each reply ends."""

    content: bytes
    etag = '"v1"'
    ranges = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.breaks: list[int | None] = []
        self.statuses: list[int] = []
        self.asked: list[str | None] = []
        self.url = f"http://127.0.0.1:{self.server_port}/set%201.zip?download=1"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self):
        span = self.headers.get("Range")
        self.server.asked.append(span)
        if self.server.statuses:
            self.send_error(self.server.statuses.pop(0))
            return
        content, start = self.server.content, 0
        if span and self.server.ranges:
            start = int(span.removeprefix("bytes=").rstrip("-"))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(content) - start))
        if self.server.etag:
            self.send_header("ETag", self.server.etag)
        self.end_headers()
        limit = self.server.breaks.pop(0) if self.server.breaks else None
        self.wfile.write(content[start:] if limit is None else content[start : start + limit])

    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch) -> Iterator[Server]:
    monkeypatch.setattr(download.time, "sleep", lambda _: None)
    monkeypatch.setattr(download, "BLOCK", 256)
    running = Server()
    running.content = make_zip(tmp_path / "served.zip", {"x.bin": NOISE}).read_bytes()
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield running
    running.shutdown()
    thread.join()
    running.server_close()


def test_download_is_verified_and_unpacked(server, place, capsys):
    raw = fetch({"url": server.url}, place / "raw")
    assert contents(raw) == {"x.bin": NOISE}
    assert hashlib.sha256(server.content).hexdigest() in capsys.readouterr().err  # to be pinned
    assert [entry.name for entry in place.iterdir()] == ["raw"]
    fetch({"url": server.url, "md5": hashlib.md5(server.content).hexdigest()}, place / "raw")


def test_broken_download_goes_on_where_it_stopped(server, place):
    server.breaks = [512, 512, None]
    fetch({"url": server.url, "sha256": hashlib.sha256(server.content).hexdigest()}, place / "raw")
    assert server.asked == [None, "bytes=512-", "bytes=1024-"]


def test_next_call_goes_on(server, place):
    server.breaks = [512]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(download, "TRIES", 1)
        with pytest.raises(GanError, match=r"broke off 1 times .* 512 bytes are kept: rerun"):
            fetch({"url": server.url}, place / "raw")
    assert not (place / "raw").exists()
    fetch({"url": server.url}, place / "raw")
    assert server.asked == [None, "bytes=512-"] and (place / "raw/x.bin").exists()


@pytest.mark.parametrize("ranges", [True, False])
def test_changed_file_is_not_glued(ranges, server, place, tmp_path):
    server.breaks, server.ranges = [512], ranges
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(download, "TRIES", 1)
        with pytest.raises(GanError, match="broke off"):
            fetch({"url": server.url}, place / "raw")
    server.content, server.etag = make_zip(tmp_path / "new.zip").read_bytes(), '"v2"'
    raw = fetch({"url": server.url}, place / "raw")
    assert contents(raw) == FILES


def test_without_a_validator_it_starts_again(server, place):
    server.breaks, server.etag = [512, None], ""
    fetch({"url": server.url}, place / "raw")
    assert server.asked == [None, None]


def test_busy_server_is_asked_again(server, place):
    server.statuses = [503, 429]
    fetch({"url": server.url}, place / "raw")
    assert len(server.asked) == 3


@pytest.mark.parametrize(("status", "tries", "message"), [(404, 1, "answers 404"), (503, 5, "broke off 5 times")])
def test_refusing_server(status, tries, message, server, place):
    server.statuses = [status] * 9
    with pytest.raises(GanError, match=message):
        fetch({"url": server.url}, place / "raw")
    assert len(server.asked) == tries and not (place / "raw").exists()


def test_unreachable_server(server, place, monkeypatch):
    monkeypatch.setattr(download, "TRIES", 2)
    with pytest.raises(GanError, match="broke off 2 times"):
        fetch({"url": "http://127.0.0.1:9/x.zip"}, place / "raw")


def test_wrong_checksum_of_a_download_is_fetched_anew(server, place):
    with pytest.raises(GanError, match="its sha256 is"):
        fetch({"url": server.url, "sha256": "0" * 64}, place / "raw")
    assert not [path for path in place.rglob("*") if path.is_file()]
    fetch({"url": server.url, "sha256": hashlib.sha256(server.content).hexdigest()}, place / "raw")
    assert len(server.asked) == 2


def test_disk_full_while_downloading(server, place, monkeypatch):
    def full(*_):
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    monkeypatch.setattr(download, "_receive", full)
    with pytest.raises(GanError, match="no space left"):
        fetch({"url": server.url}, place / "raw")
    assert not (place / "raw").exists()
