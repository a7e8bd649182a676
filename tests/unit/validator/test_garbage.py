"""Whatever an origin answers, the validator says what it finds and does not fall over it."""

import random
from dataclasses import replace
from pathlib import Path

import pytest

from infra.validator.checks import check
from infra.validator.evidence import Evidence
from infra.validator.recording import Exchange, load

GOOD = Path(__file__).with_name("good.xz")
SEEDS = 24


@pytest.fixture(scope="module")
def good() -> list[Exchange]:
    return load(GOOD)


def spoiled(exchange: Exchange, chance: random.Random) -> Exchange:
    """Bytes overwritten, cut out, doubled, or words of text exchanged."""
    body = bytearray(exchange.body)
    for _ in range(chance.randint(1, 6)):
        at, length = chance.randrange(max(1, len(body))), chance.choice((1, 2, 4, 40))
        match chance.randrange(4):
            case 0:
                body[at : at + length] = chance.randbytes(length)
            case 1:
                del body[at : at + length]
            case 2:
                body[at:at] = body[at : at + length]
            case _:
                body[at : at + 1] = chance.choice((b"-", b"9999999999", b'"', b"\n", b"=", b"", b"\xff", b"\0\0\0\0"))
    return replace(exchange, body=bytes(body))


@pytest.mark.parametrize("seed", range(SEEDS))
def test_spoiled_answers_are_findings_and_no_accident(good: list[Exchange], seed: int) -> None:
    chance = random.Random(seed)
    # Half of the runs spoil everything: then hardly two things agree.
    share = 1.0 if seed % 2 else 0.1
    exchanges = [spoiled(e, chance) if chance.random() < share else e for e in good[chance.randrange(200) :: 2]]
    assert check(Evidence(exchanges))
