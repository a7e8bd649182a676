"""What the latest chunks of a track were, to tell a repeat from another chunk: numbers side by side in one block of memory."""

from struct import Struct

# Index and one, so that nothing is 0; segment, start, duration, size of the payload, its fingerprint.
ROW = Struct("<5qQ")

Print = tuple[int, int, int, int, int]


class Remembered:
    """
    The prints of the latest chunks of a track, by index.

    They stay for minutes while all that is made around them goes within a second. As objects of their own, some for each chunk, they take
    ten times as much, and keep every block of memory over which they are strewn: who packages evenly grows for long. Here they have their
    place from the first chunk on.
    """

    __slots__ = ("_count_max", "_rows")

    def __init__(self, count_max: int) -> None:
        """
        Args:
            count_max: Chunks; the index that is so many further takes the place of one.
        """
        self._count_max = count_max
        self._rows = bytearray()

    def put(self, index: int, print_: Print) -> None:
        """
        Remembers a chunk.

        >>> held = Remembered(2)
        >>> for index in range(3): held.put(index, (index, 10, 20, 30, 2**64 - 1))
        >>> [held.get(index) for index in range(4)]
        [None, (1, 10, 20, 30, 18446744073709551615), (2, 10, 20, 30, 18446744073709551615), None]
        """
        if not self._rows:
            self._rows = bytearray(self._count_max * ROW.size)
        ROW.pack_into(self._rows, index % self._count_max * ROW.size, index + 1, *print_)

    def get(self, index: int) -> Print | None:
        """The print of a chunk; None if it was not seen, or is forgotten."""
        if not self._rows:
            return None
        held, msn, start, duration, size, fingerprint = ROW.unpack_from(self._rows, index % self._count_max * ROW.size)
        return (msn, start, duration, size, fingerprint) if held == index + 1 else None
