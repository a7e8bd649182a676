"""Both stores, and what the directory does beyond the protocol."""

import errno
import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from packager.store import DirectoryStore, Publication, Store
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
