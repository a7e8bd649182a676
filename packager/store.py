"""Where objects go: a small protocol, and the directory that is the default."""

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import Protocol
from uuid import uuid4

from packager.digest import digest
from schemas.errors import ConflictError, RejectedError, RetryableError, UserError
from schemas.settings import StoreSettings

# Begins no id, so no object is ever named like a file that is still being written.
TEMPORARY = ".tmp-"
FULL = (errno.ENOSPC, errno.EDQUOT)
RETRY_AFTER_MS = 250
COMPARED_BYTES = 2**20
# Pieces that POSIX lets be written at once, at the least what Linux and the BSDs allow.
PIECES_MAX = 1_024
# Folders remembered as being on disk, with all that lead to them: beyond it they are synced anew.
FOLDERS_REMEMBERED_MAX = 10_000


class Publication(StrEnum):
    """What create-if-absent did."""

    CREATED = "created"
    EXISTED = "existed"


class Store(Protocol):
    """Objects by name; a name determines the bytes (media rule 8), so nothing is ever overwritten."""

    def create_if_absent(self, name: str, pieces: Sequence[bytes]) -> Publication:
        """
        Whether the object was made now, or was there already with these very bytes. It appears whole or not at all.

        Raises:
            ConflictError: It exists with other bytes, which stay.
            RetryableError: The store cannot take it now.
        """
        ...

    def get(self, name: str) -> bytes:
        """
        All bytes of an object.

        Raises:
            KeyError: There is none of this name.
            RetryableError: The store cannot be read now.
        """
        ...

    def range(self, name: str, start: int, size: int) -> bytes:
        """
        Up to ``size`` bytes of an object from ``start`` on.

        Raises:
            KeyError: There is none of this name.
        """
        ...

    def list(self, prefix: str = "") -> Iterator[str]:
        """Names that begin with a prefix, in order."""
        ...

    def delete(self, name: str) -> bool:
        """Whether there was such an object; now there is none."""
        ...


class DirectoryStore:
    """
    A store in a folder of a local or shared file system; any number of processes may use it at once.

    An object is written to a file of its own beside its place and then linked there: link(2) never replaces, so of several
    writers one wins and the others compare, and a writer that is killed leaves at most a file that is no object, for `sweep`.
    Unless the settings ask for it nothing is synced to disk: after a power cut, the objects of its last half minute may be missing,
    empty or cut short. `media` is what is durable; what is deleted of them is made again from it, byte for byte.
    With it, an object that is said to be there is on disk, and so is its name, whoever made it: who linked it may have died since.
    """

    def __init__(self, settings: StoreSettings, *, for_writing: bool = True) -> None:
        """
        Args:
            settings: The folder, the free space below which nothing is written, and whether objects are synced.
            for_writing: Whether a folder that cannot be written is an error now; who reads waits for one that is not there.

        Raises:
            UserError: The folder cannot be made or written to.
        """
        self._root = settings.directory.absolute()
        self._free_bytes_min = settings.free_bytes_min
        self._sync = settings.sync
        self._on_disk: set[Path] = set()
        if not for_writing:
            return
        try:
            there = next(folder for folder in (self._root, *self._root.parents) if folder.exists())
            self._root.mkdir(parents=True, exist_ok=True)
            if self._sync:
                _sync_folders(self._root, there)
            probe = self._root / f"{TEMPORARY}{uuid4().hex}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise UserError(f"the store {self._root} cannot be written: {error.strerror}", do="set FINECUT_STORE__DIRECTORY") from error

    def create_if_absent(self, name: str, pieces: Sequence[bytes]) -> Publication:
        """See `Store`."""
        path = self._path(name)
        try:
            return self._create(name, path, pieces)
        except OSError as error:
            raise self._trouble(name, error) from error

    def get(self, name: str) -> bytes:
        """See `Store`."""
        with self._reading(name) as path:
            return path.read_bytes()

    def range(self, name: str, start: int, size: int) -> bytes:
        """See `Store`."""
        with self._reading(name) as path, path.open("rb") as file:
            file.seek(start)
            return file.read(size)

    def list(self, prefix: str = "") -> Iterator[str]:
        """See `Store`."""
        files = (file for file in self._root.rglob("*") if not file.name.startswith(TEMPORARY) and file.is_file())
        yield from sorted(name for file in files if (name := file.relative_to(self._root).as_posix()).startswith(prefix))

    def delete(self, name: str) -> bool:
        """See `Store`."""
        try:
            self._path(name).unlink()
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def _create(self, name: str, path: Path, pieces: Sequence[bytes]) -> Publication:
        if path.exists():
            return self._compare(name, path, pieces)
        temporary = path.parent / f"{TEMPORARY}{uuid4().hex}"
        try:
            self._write(temporary, pieces)
            os.link(temporary, path)
        except FileExistsError:
            return self._compare(name, path, pieces)
        finally:
            with suppress(OSError):  # there is none, or `sweep` deletes it
                temporary.unlink()
        self._sync_name(path)
        return Publication.CREATED

    def _sync_name(self, path: Path) -> None:
        """With sync: the name of an object is on disk, and all folders that lead to it."""
        if not self._sync:
            return
        folder = path.parent
        if folder in self._on_disk:
            _sync_folders(folder, folder)
            return
        # Once for each folder, whoever made it: that writer may have died before it did.
        _sync_folders(folder, self._root)
        if len(self._on_disk) >= FOLDERS_REMEMBERED_MAX:
            self._on_disk.clear()
        self._on_disk.add(folder)

    @contextmanager
    def _reading(self, name: str) -> Iterator[Path]:
        """The file of an object, while it is read."""
        try:
            yield self._path(name)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            if not self._root.is_dir():
                raise self._trouble(name, error) from error
            raise KeyError(name) from error
        except OSError as error:
            raise self._trouble(name, error) from error

    def _trouble(self, name: str, error: OSError) -> RetryableError:
        how = "is full" if error.errno in FULL else "fails"
        return RetryableError(f"the store {self._root} {how} at {name}: {error.strerror}", retry_after_ms=RETRY_AFTER_MS)

    def _path(self, name: str) -> Path:
        """
        The file of an object, always inside the folder.

        Raises:
            RejectedError: The name would lead out of it.
        """
        parts = name.split("/")
        if any(not part or part.startswith(".") or "\0" in part or "\\" in part for part in parts):
            raise RejectedError(f"{name!r} is no name of an object")
        return self._root.joinpath(*parts)

    def _write(self, path: Path, pieces: Sequence[bytes]) -> None:
        state = os.statvfs(self._root)
        free = state.f_bavail * state.f_frsize
        if free < self._free_bytes_min:
            problem = f"the store {self._root} is full: {free >> 20} MiB free, {self._free_bytes_min >> 20} MiB must stay"
            raise RetryableError(problem, retry_after_ms=RETRY_AFTER_MS)
        try:
            file = path.open("xb", buffering=0)
        except FileNotFoundError:
            self._on_disk.discard(path.parent)
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("xb", buffering=0)
        with file:
            rest = [memoryview(piece) for piece in pieces if piece]
            while rest:
                written = os.writev(file.fileno(), rest[:PIECES_MAX])
                while rest and written >= len(rest[0]):
                    written -= len(rest.pop(0))
                if written:
                    rest[0] = rest[0][written:]
            if self._sync:
                os.fsync(file.fileno())

    def _compare(self, name: str, path: Path, pieces: Sequence[bytes]) -> Publication:
        with path.open("rb") as file:
            same = os.fstat(file.fileno()).st_size == sum(map(len, pieces)) and all(file.read(len(piece)) == piece for piece in pieces)
            if same:
                self._sync_name(path)  # its bytes were synced before they had a name, the name perhaps not
                return Publication.EXISTED
            file.seek(0)
            held = digest(list(iter(lambda: file.read(COMPARED_BYTES), b"")))
        raise ConflictError(name, held=held.hex(), offered=digest(pieces).hex())


def _sync_folders(folder: Path, top: Path) -> None:
    """What was linked into a folder is on disk, and the folder itself: each up to one that is told, that one too."""
    for each in (folder, *folder.parents):
        opened = os.open(each, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
        if each == top:
            return
