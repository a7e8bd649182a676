"""Bytes do not depend on who made them, nor on how the work was dealt, over minutes of real media on a real Kafka."""

from pathlib import Path

import pytest

from infra.kafka import LocalBroker
from schemas.timeline import PART_SUFFIX
from tests.broker.alike import DEALT, WHOLE, packaged, segments_of

SECONDS = 240
PARTS_PER_S = 2
TRACKS = 2


@pytest.mark.timeout(120)
def test_two_packagers_that_share_a_long_log_out_differently_publish_the_same_bytes(kafka: LocalBroker, tmp_path: Path) -> None:
    made = packaged(kafka, tmp_path, SECONDS, wait_s=90)
    parts = sum(name.endswith(PART_SUFFIX) for name in made[WHOLE].objects)
    assert (parts, len(made[WHOLE].objects) - parts) == (SECONDS * PARTS_PER_S * TRACKS, len(segments_of(SECONDS)) * TRACKS)
    assert made[DEALT].objects == made[WHOLE].objects
    assert made[DEALT].digest == made[WHOLE].digest
