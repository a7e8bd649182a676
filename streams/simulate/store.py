"""A store in memory: create if absent, and a memory of everything that was ever offered under a name."""

from collections.abc import Sequence

from schemas.errors import ConflictError, RetryableError

RETRY_MS = 250


class Store:
    """
    Objects by name.

    Attributes:
        objects: Bytes by name.
        refused: Other bytes offered under a name that exists.
        is_failing: Whether it takes nothing for now.
    """

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.refused: list[tuple[str, bytes]] = []
        self.is_failing = False

    def create_if_absent(self, name: str, pieces: Sequence[bytes]) -> None:
        """
        The object can be fetched from now on.

        Raises:
            ConflictError: It exists with other bytes, which stay.
            RetryableError: The store takes nothing now.
        """
        if self.is_failing:
            raise RetryableError("the store is away", retry_after_ms=RETRY_MS)
        data = b"".join(pieces)
        held = self.objects.setdefault(name, data)
        if held != data:
            self.refused.append((name, data))
            raise ConflictError(name, held=f"{len(held)} bytes", offered=f"{len(data)} bytes")
