"""What writes a channel is a context: left without an error, it ends the channel."""

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class Ending(ABC):
    """Ends when its context is left without an error, and lets go in any case."""

    @abstractmethod
    def end(self) -> None:
        """Say that nothing more comes; returns when all is acknowledged."""

    @abstractmethod
    def close(self) -> None:
        """Let go."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if kind is None:
                self.end()
        finally:
            self.close()
