"""A small disk in memory for the log of one broker, to be filled on purpose."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from schemas.errors import UserError

CHUNK = bytes(2**16)


class SmallDisk:
    """A file system of a few megabytes; mounted by `small_disk`."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.log_dir = place / "data"
        self._filler = place / "filler"

    def fill(self) -> None:
        """Take all that is left of it."""
        with self._filler.open("ab", buffering=0) as file:
            try:
                while file.write(CHUNK):
                    pass
            except OSError:  # no space left on device: that is what was wanted
                return

    def free(self) -> None:
        """Give back what `fill` took."""
        self._filler.unlink(missing_ok=True)


@contextmanager
def small_disk(place: Path, *, megabytes: int) -> Iterator[SmallDisk]:
    """
    A file system in memory, gone at the end with all that is on it.

    Raises:
        UserError: This user may mount nothing.
    """
    place.mkdir(parents=True, exist_ok=True)
    options = ["-t", "tmpfs", "-o", f"size={megabytes}m", "finecut-small-disk", str(place)]
    try:
        subprocess.run(["mount", *options], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise UserError(f"cannot mount a small disk at {place}: {getattr(error, 'stderr', '') or error}", do="run as root") from error
    try:
        yield SmallDisk(place)
    finally:
        # Lazily: a broker that is still ending holds its files a moment longer.
        subprocess.run(["umount", "--lazy", str(place)], check=True)
