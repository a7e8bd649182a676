"""
A packager whose store can be made to fail: what `finecut packager` runs, with a store that looks at a file before it writes.

The file says nothing, or one of `FAULTS`, or ``slow SECONDS``. Everything above the system calls is the packager's own.
"""

import errno
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from infra.logs import configure
from packager.__main__ import run
from packager.store import DirectoryStore
from schemas.errors import UserError
from schemas.settings import StoreSettings, load

VARIABLE = "CHAOS_STORE"
FAULTS: Mapping[str, int] = {"full": errno.ENOSPC, "readonly": errno.EROFS, "failing": errno.EIO}


class FailingStore(DirectoryStore):
    """The directory, as long as the file says nothing else."""

    def __init__(self, settings: StoreSettings, words: Path) -> None:
        super().__init__(settings)
        self._words = words

    def _write(self, path: Path, pieces: Sequence[bytes]) -> None:
        told = self._words.read_text().split() if self._words.exists() else []
        if told and told[0] == "slow":
            time.sleep(float(told[1]))
        elif told:
            raise OSError(FAULTS[told[0]], os.strerror(FAULTS[told[0]]))
        super()._write(path, pieces)


def main(name: str, pool: int) -> int:
    """Exit status of the packager."""
    settings = load()
    configure(settings.log_level)
    try:
        return run(settings, pool=pool, packager_id=name, store=FailingStore(settings.store, Path(os.environ[VARIABLE])))
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
