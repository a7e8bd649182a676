"""Which code decides: the version of the package, and a digest that tells two states of development apart."""

from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

import schemas
from streams import core

DIGITS = 12


def code_version() -> str:
    """
    Version that decisions name: equal wherever the code that decides, and the records it reads, are.

    >>> code_version() == code_version(), code_version().partition("+")[0] == version("finecut")
    (True, True)
    """
    return f"{version('finecut')}+{digest(*(Path(next(iter(package.__path__))) for package in (schemas, core)))}"


def digest(*folders: Path) -> str:
    """Of the sources in folders, whatever their place on the machine."""
    found = sha256()
    for folder in folders:
        for path in sorted(path for path in folder.rglob("*") if path.suffix in {".py", ".avsc"}):
            body = path.read_bytes()
            found.update(f"{path.relative_to(folder).as_posix()} {len(body)}\n".encode() + body)
    return found.hexdigest()[:DIGITS]
