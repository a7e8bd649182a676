"""What a packager process does between two of its lives; no broker."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from packager import __main__ as process
from schemas.errors import LifeOverError, UnreachableError
from schemas.settings import PackagerSettings, Settings, StoreSettings

AWAY = UnreachableError("127.0.0.1:1", "timed out")
Lives = Callable[..., int]


@pytest.fixture
def packager(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Lives:
    """Runs one whose lives end as they are told to: by an error at their start, or None: it is told to leave."""

    def run(*ends: Exception | None) -> int:
        coming = iter(ends)

        def client(*_: object, **__: object) -> AbstractContextManager[Any]:
            if end := next(coming):
                raise end
            return nullcontext(type("Client", (), {"life": "last"})())

        monkeypatch.setattr(process, "signal", Mock())
        monkeypatch.setattr(process, "Client", client)
        monkeypatch.setattr(process, "Worker", lambda *_: type("Worker", (), {"run": lambda *_, **__: None})())
        settings = Settings(store=StoreSettings(directory=tmp_path, free_bytes_min=1), packager=PackagerSettings(metrics_port=0))
        return process.run(settings, pool=0, packager_id="p1")

    return run


def test_a_packager_whose_life_ended_while_kafka_is_away_waits_for_it(packager: Lives) -> None:
    assert packager(LifeOverError("not taken"), AWAY, AWAY, None) == 0


def test_a_packager_that_finds_no_kafka_at_its_start_ends(packager: Lives) -> None:
    with pytest.raises(UnreachableError):
        packager(AWAY, None)
