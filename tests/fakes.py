"""Our own interfaces in memory; each passes the suite of `tests.conformance` that the real ones pass."""

from collections.abc import Iterator, Sequence

from packager.digest import digest
from packager.store import Publication
from schemas.errors import ConflictError


class MemoryStore:
    """A store that forgets everything at the end."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def create_if_absent(self, name: str, pieces: Sequence[bytes]) -> Publication:
        offered = b"".join(pieces)
        held = self.objects.setdefault(name, offered)
        if held is offered:
            return Publication.CREATED
        if held != offered:
            raise ConflictError(name, held=digest([held]).hex(), offered=digest(pieces).hex())
        return Publication.EXISTED

    def get(self, name: str) -> bytes:
        return self.objects[name]

    def range(self, name: str, start: int, size: int) -> bytes:
        return self.objects[name][start : start + size]

    def list(self, prefix: str = "") -> Iterator[str]:
        yield from sorted(name for name in self.objects if name.startswith(prefix))

    def delete(self, name: str) -> bool:
        return self.objects.pop(name, None) is not None
