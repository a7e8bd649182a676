"""Both stores, and what the directory does beyond the protocol."""

import errno
import os
import shutil
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

import pytest

from packager.store import TEMPORARY, DirectoryStore, Publication, Store
from schemas.errors import RejectedError, RetryableError, UserError
from schemas.settings import StoreSettings
from tests.conformance import NAME, StoreConformance
from tests.fakes import MemoryStore


def open_store(folder: Path, free_bytes_min: int = 1) -> DirectoryStore:
    return DirectoryStore(StoreSettings(directory=folder, free_bytes_min=free_bytes_min))


class TestDirectoryStore(StoreConformance):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        return open_store(tmp_path / "store")


class TestMemoryStore(StoreConformance):
    @pytest.fixture
    def store(self) -> Store:
        return MemoryStore()


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a//b", "a/./b", "", "a/.tmp-1", "a/\0", "a\\b", ".."])
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    store = open_store(tmp_path / "store")
    with pytest.raises(RejectedError, match="no name of an object"):
        store.create_if_absent(name, [b"x"])
    assert [path.name for path in tmp_path.rglob("*")] == ["store"]


def test_too_little_free_space_is_said_in_words(tmp_path: Path) -> None:
    store = open_store(tmp_path, free_bytes_min=shutil.disk_usage(tmp_path).total)
    with pytest.raises(RetryableError, match=r"is full: \d+ MiB free, \d+ MiB must stay"):
        store.create_if_absent(NAME, [b"x"])
    assert list(store.list()) == []


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    store = open_store(tmp_path)
    monkeypatch.setattr(os, "link", full)
    with pytest.raises(RetryableError, match=r"is full at news/0/v0/25600.*No space left"):
        store.create_if_absent(NAME, [b"x"])
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


BROKEN = OSError(errno.EIO, "Input/output error")


@pytest.mark.parametrize("call", ["link", "statvfs"])
@pytest.mark.parametrize("error", [BROKEN, OSError(errno.EROFS, "Read-only file system")])
def test_whatever_fails_while_writing_is_tried_again_and_leaves_no_object(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, error: OSError
) -> None:
    store = open_store(tmp_path)
    with monkeypatch.context() as broken:
        broken.setattr(os, call, _raise(error))
        broken.setattr(Path, "unlink", _raise(error))
        with pytest.raises(RetryableError, match=f"fails at {NAME}: {error.strerror}"):
            store.create_if_absent(NAME, [b"x"])
    assert list(store.list()) == []
    assert store.create_if_absent(NAME, [b"x"]) is Publication.CREATED


def test_what_is_there_and_cannot_be_compared_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(tmp_path)
    store.create_if_absent(NAME, [b"x"])
    with monkeypatch.context() as broken:
        broken.setattr(Path, "open", _raise(BROKEN))
        with pytest.raises(RetryableError, match="fails at"):
            store.create_if_absent(NAME, [b"x"])
    assert store.create_if_absent(NAME, [b"x"]) is Publication.EXISTED


def test_a_store_that_cannot_be_read_or_is_not_there_is_not_taken_for_one_without_the_object(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, reader = open_store(tmp_path / "store"), DirectoryStore(StoreSettings(directory=tmp_path / "store"), for_writing=False)
    writer.create_if_absent(NAME, [b"x"])
    with monkeypatch.context() as broken:
        broken.setattr(Path, "open", _raise(BROKEN))
        broken.setattr(Path, "read_bytes", _raise(BROKEN))
        for read in (reader.get, lambda name: reader.range(name, 0, 1)):
            with pytest.raises(RetryableError, match="Input/output error"):
                read(NAME)
    (tmp_path / "store").rename(tmp_path / "away")
    with pytest.raises(RetryableError, match="No such file"):
        reader.get(NAME)
    (tmp_path / "away").rename(tmp_path / "store")
    assert reader.get(NAME) == b"x"
    with pytest.raises(KeyError):
        reader.get("news/0/v0/1.m4s")


def test_a_writer_that_is_killed_in_the_middle_leaves_nothing_that_is_an_object(tmp_path: Path) -> None:
    read, write = os.pipe()
    writer = os.fork()
    if not writer:  # writes a piece, tells, and waits for its end
        real = os.writev

        def stops(file: int, pieces: Sequence[memoryview]) -> int:
            written = real(file, pieces[:1])
            os.write(write, b"!")
            signal.pause()
            return written

        os.writev = stops  # type: ignore[assignment]  # of this process, which ends with it
        open_store(tmp_path).create_if_absent(NAME, [bytes(1_000), b"more"])
        os._exit(1)
    assert os.read(read, 1) == b"!"
    os.kill(writer, signal.SIGKILL)
    os.waitpid(writer, 0)
    store = open_store(tmp_path)
    assert list(store.list()) == []
    assert [path.stat().st_size for path in tmp_path.rglob(f"{TEMPORARY}*")] == [1_000]
    assert store.create_if_absent(NAME, [b"whole"]) is Publication.CREATED


@pytest.mark.parametrize("step", [1, 2, 3, 5, 100])
def test_what_the_kernel_takes_in_portions_is_written_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    real = os.writev
    monkeypatch.setattr(os, "writev", lambda file, pieces: real(file, [b"".join(pieces)[:step]]))
    store = open_store(tmp_path)
    store.create_if_absent(NAME, [b"ab", b"", b"cde", b"f"])
    assert store.get(NAME) == b"abcdef"


@dataclass
class Disk:
    """What was synced and linked, in order: folders by their names, files as such; fails as often as it is told to."""

    order: list[str] = field(default_factory=list)
    failing: set[str] = field(default_factory=set)

    def fsync(self, file: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{file}"))
        what = path.name if path.is_dir() else "file"
        self.order.append(what)
        if what in self.failing:
            self.failing.remove(what)
            raise BROKEN


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    made, link = Disk(), os.link

    def links(*paths: Path) -> None:
        made.order.append("link")
        link(*paths)

    monkeypatch.setattr(os, "fsync", made.fsync)
    monkeypatch.setattr(os, "link", links)
    return made


def open_synced(folder: Path) -> DirectoryStore:
    return DirectoryStore(StoreSettings(directory=folder, free_bytes_min=1, sync=True))


def test_objects_are_on_disk_before_they_have_a_name_if_asked_for(tmp_path: Path, disk: Disk) -> None:
    store = open_synced(tmp_path / "made" / "store")
    assert disk.order == ["store", "made", tmp_path.name], "the folders that were made"
    disk.order.clear()
    store.create_if_absent(NAME, [b"x"])
    assert disk.order == ["file", "link", "v0", "0", "news", "store"]
    disk.order.clear()
    store.create_if_absent("news/0/v0/1.m4s", [b"x"])
    assert disk.order == ["file", "link", "v0"]


@pytest.mark.parametrize("folder", ["v0", "news"])
def test_a_name_that_was_not_synced_is_before_it_is_said_to_be_there(tmp_path: Path, disk: Disk, folder: str) -> None:
    store = open_synced(tmp_path / "store")
    disk.failing.add(folder)
    with pytest.raises(RetryableError, match="fails at"):
        store.create_if_absent(NAME, [b"x"])
    disk.order.clear()
    assert store.create_if_absent(NAME, [b"x"]) is Publication.EXISTED
    assert disk.order == ["v0", "0", "news", "store"]


def test_what_another_writer_linked_before_it_died_is_synced_before_it_is_said_to_be_there(tmp_path: Path, disk: Disk) -> None:
    open_store(tmp_path / "store").create_if_absent(NAME, [b"x"])  # as one that ends before it syncs
    store = open_synced(tmp_path / "store")
    disk.order.clear()
    assert store.create_if_absent(NAME, [b"x"]) is Publication.EXISTED
    assert disk.order == ["v0", "0", "news", "store"]


def test_folders_that_are_made_anew_are_synced_anew(tmp_path: Path, disk: Disk) -> None:
    store = open_synced(tmp_path / "store")
    store.create_if_absent(NAME, [b"x"])
    shutil.rmtree(tmp_path / "store" / "news")
    disk.order.clear()
    store.create_if_absent(NAME, [b"x"])
    assert disk.order == ["file", "link", "v0", "0", "news", "store"]


def test_without_sync_nothing_is(tmp_path: Path, disk: Disk) -> None:
    store = open_store(tmp_path / "store")
    for _ in range(2):
        store.create_if_absent(NAME, [b"x"])
    assert disk.order == ["link"]


def _raise(error: OSError) -> Callable[..., None]:
    def fails(*_: object, **__: object) -> None:
        raise error

    return fails


def test_a_folder_that_cannot_be_made_is_the_users_matter(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        open_store(tmp_path / "file" / "store")


def put_all(folder: Path) -> list[Publication]:
    store = open_store(folder)
    return [store.create_if_absent(f"news/0/v0/{i}.m4s", [bytes([i]) * 1_000]) for i in range(200)]


def test_of_two_processes_one_creates_each_object(tmp_path: Path) -> None:
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        first, second = pool.map(put_all, [tmp_path, tmp_path])
    assert all({a, b} == {Publication.CREATED, Publication.EXISTED} for a, b in zip(first, second, strict=True))
    assert not list(tmp_path.rglob(".tmp-*"))
