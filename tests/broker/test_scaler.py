"""The number of packagers follows what the log says is wanted: real processes, which start and drain while two channels are live."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer

from infra.kafka import LocalBroker
from infra.state import read
from schemas.records import Level, Reason, Scaling
from schemas.registry import codec_of
from schemas.topics import SCALING
from schemas.units import UnixMs
from tests.line import Line, whole_line

pytestmark = pytest.mark.timeout(120)
CHANNELS = ("chess", "news")
# Of no planner that ever decided: what has this number is the newest.
LATER = 10**9


@pytest.fixture
def line(kafka: LocalBroker, tmp_path: Path) -> Iterator[Line]:
    """One packager, and a planner to which the smallest load is worth all the packagers that there may be."""
    with whole_line(kafka, tmp_path, packagers=1, scales=True, SCALING__TARGET_UTILISATION=0.0001, SCALING__PACKAGERS_MAX=2) as made:
        yield made


def want(line: Line, count: int) -> None:
    """Say that so many packagers are wanted, as a planner does."""
    kafka = line.run.settings.kafka
    told = Scaling(pool=0, wanted=count, at_horizon=count, alive=2, since_unix_ms=UnixMs(0), decision=LATER, reason=Reason.LOAD)
    producer = Producer(kafka.client())
    producer.produce(SCALING.name(kafka), codec_of(kafka).encode(told), b"0", 0)
    assert producer.flush(10) == 0


def test_a_second_packager_starts_takes_slices_and_drains_without_loss(line: Line) -> None:
    line.play("chess", idle=Level.PARTS)
    line.until(lambda tally: "packager-2" in tally.heartbeats, what="second packager")
    run = read(line.run.settings.state_dir)
    assert run is not None
    assert (run.packagers_wanted, [p.name for p in run.processes if p.role == "packager"]) == (2, ["packager-1", "packager-2"])
    line.play("news", idle=Level.PARTS)
    line.until(lambda tally: {a.packager_id for a in tally.holders.values()} == {"packager-1", "packager-2"}, what="slice for it")
    line.goes_on(*CHANNELS, segments=1)
    want(line, 1)
    line.until(lambda _: line.run.members() == {"packager-1": False}, what="end of the second packager")
    assert line.run.supervisor.children["packager-2"].popen.returncode == 0
    assert {line.holder(channel) for channel in CHANNELS} == {"packager-1"}
    line.end()
    tally = line.tally
    assert (tally.lost(), tally.conflicts, tally.voids, tally.discontinuities()) == ([], set(), set(), 0)
