"""Deletes objects by age, and nobody else deletes: those that no playlist lists any more, nor did for as long as players may still ask."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packager.store import TEMPORARY
from schemas.errors import UserError
from schemas.settings import Settings
from schemas.timeline import INIT_NAME
from schemas.units import Ms, UnixMs


@dataclass(frozen=True, kw_only=True, slots=True)
class Swept:
    """
    What a pass deleted.

    Attributes:
        objects: Objects.
        size: Their bytes.
        leftovers: Files that a writer left when it was killed.
        kept: Objects that stay.
    """

    objects: int = 0
    size: int = 0
    leftovers: int = 0
    kept: int = 0

    def __str__(self) -> str:
        left = f", and {self.leftovers} leftovers of killed writers" if self.leftovers else ""
        return f"{self.objects} objects of {self.size / 2**20:.1f} MiB deleted{left}; {self.kept} kept"


@dataclass(frozen=True, kw_only=True, slots=True)
class Ages:
    """
    How long objects stay.

    Attributes:
        behind_ms: How much older than the newest object of its channel one may be: while an encoder pauses, its playlists keep theirs.
        silent_ms: How old one may be whatever its channel does.
    """

    behind_ms: Ms
    silent_ms: Ms


def ages(settings: Settings, *, older_than_ms: Ms | None = None) -> Ages:
    """
    The ages that the settings say.

    Args:
        settings: All settings.
        older_than_ms: Instead: how old an object may be, also of a channel that is silent.

    Raises:
        UserError: Objects would go that players may still ask for.
    """
    media, store = settings.media, settings.store
    # RFC 8216bis 6.2.2: a removed segment stays for its duration and that of the longest playlist that held it; before, it is listed for
    # as long as the time shift buffer. Neither is more than time shift and one target, however late a player reads its playlist.
    listed_ms = 2 * (media.time_shift_ms + media.target_duration_ms)
    if older_than_ms is None:
        return Ages(behind_ms=Ms(listed_ms + store.sweep_margin_ms), silent_ms=Ms(listed_ms + settings.kafka.media_retention_ms))
    if older_than_ms < listed_ms:
        raise UserError(
            f"objects of {older_than_ms / 1_000:g} s may still be asked for: time shift and one target, twice, are {listed_ms / 1_000:g} s",
            do="choose more, or set FINECUT_MEDIA__TIME_SHIFT_MS as it is for the encoders",
        )
    return Ages(behind_ms=older_than_ms, silent_ms=older_than_ms)


def sweep(directory: Path, kept: Ages, *, now_unix_ms: UnixMs) -> Swept:
    """
    One pass over a directory store. Init segments stay: they are few, and a player may return to a period at any time.

    Args:
        directory: Folder of the store.
        kept: How long objects stay.
        now_unix_ms: Time, of the clock of the files.

    Raises:
        UserError: Files may not be deleted.
    """
    if not directory.is_dir():
        return Swept()
    try:
        channels = [Path(entry.path) for entry in os.scandir(directory) if entry.is_dir(follow_symlinks=False)]
        counted = [_sweep_channel(channel, kept, now_unix_ms) for channel in sorted(channels)]
        counted.append(_sweep_files([e for e in os.scandir(directory) if e.name.startswith(TEMPORARY)], 0, now_unix_ms - kept.behind_ms))
    except OSError as error:
        raise UserError(f"the store {directory} cannot be swept: {error.strerror} ({error.filename})", do="see who owns it") from error
    return Swept(
        objects=sum(one.objects for one in counted),
        size=sum(one.size for one in counted),
        leftovers=sum(one.leftovers for one in counted),
        kept=sum(one.kept for one in counted),
    )


def run(settings: Settings, *, older_than_ms: Ms | None = None) -> Swept:
    """One pass over the store of the settings, by the clock of this machine."""
    now = UnixMs(time.time_ns() // 1_000_000)
    return sweep(settings.store.directory.absolute(), ages(settings, older_than_ms=older_than_ms), now_unix_ms=now)


def _sweep_channel(channel: Path, kept: Ages, now_unix_ms: int) -> Swept:
    files = list(_files(channel))
    newest = max((_modified_ms(file) for file in files if not file.name.startswith(TEMPORARY)), default=0)
    return _sweep_files(files, max(newest - kept.behind_ms, now_unix_ms - kept.silent_ms), now_unix_ms - kept.behind_ms)


def _sweep_files(files: list["os.DirEntry[str]"], before_ms: int, leftovers_before_ms: int) -> Swept:
    objects = size = leftovers = stay = 0
    for file in files:
        if file.name.startswith(TEMPORARY):
            if _modified_ms(file) < leftovers_before_ms:
                leftovers += _delete(file)
        elif file.name != INIT_NAME and _modified_ms(file) < before_ms:
            size += file.stat(follow_symlinks=False).st_size
            objects += _delete(file)
        else:
            stay += 1
    return Swept(objects=objects, size=size, leftovers=leftovers, kept=stay)


def _files(folder: Path) -> Iterator["os.DirEntry[str]"]:
    with os.scandir(folder) as found:
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                yield from _files(Path(entry.path))
            elif entry.is_file(follow_symlinks=False) and _exists(entry):
                yield entry


def _exists(file: "os.DirEntry[str]") -> bool:
    """Whether it is still there; from now on its state is remembered."""
    try:
        file.stat(follow_symlinks=False)
    except FileNotFoundError:  # its writer has just linked it to its place
        return False
    return True


def _modified_ms(file: "os.DirEntry[str]") -> int:
    return file.stat(follow_symlinks=False).st_mtime_ns // 1_000_000


def _delete(file: "os.DirEntry[str]") -> bool:
    try:
        os.unlink(file.path)
    except FileNotFoundError:  # another sweep was quicker
        return False
    return True
