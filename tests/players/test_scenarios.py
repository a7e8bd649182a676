"""What real players see when nobody was there before them, when one of two who make the same dies, and when another encoder takes over."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.kafka import LocalBroker
from schemas.records import Level
from tests.line import OTHER_PRESET, Line, whole_line
from tests.players.report import is_as_expected, row
from tests.players.scenarios import EACH_S, SCENARIOS, SOON_S, TWICE, holes_s, pages, succeed_encoder
from tests.players.stage import Stage, figures, playing

pytestmark = pytest.mark.timeout(240)
COPIED = "copied"
# Each is watched by one player alone.
OFF = {"hls.js": "off-a", "dash.js-ll": "off-b", "shaka": "off-c"}
LOW_LATENCY = ("hls.js-ll", "dash.js-ll", "shaka-ll-dash")
# The longest wait for a channel that nobody watched: decided, dealt, packaged, listed, on a busy machine.
FIRST_S = 12.0
Tell = Callable[[str, object], None]


@pytest.fixture(scope="module")
def line(kafka: LocalBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    with whole_line(kafka, tmp_path_factory.mktemp("scenarios"), packagers=2, **TWICE) as made:
        made.play(*OFF.values(), idle=Level.OFF)
        made.play(COPIED, idle=Level.PARTS)
        made.goes_on(COPIED, segments=3)
        yield made


def judge(line: Line, channel: str, stage: Stage, record: Tell) -> list[dict[str, Any]]:
    """Rows of all pages, each as it should be."""
    rows = []
    for name, page in stage.end().items():
        rows.append(row(channel, page, holes_s=holes_s(line, channel)))
        record(f"{channel}: {name}", json.dumps(figures(page)))
    assert all(map(is_as_expected, rows)), f"{json.dumps(rows)}, encoders late: {dict(line.tally.encoder_lag_ms)}"
    return rows


def test_the_first_viewer_of_a_channel_that_is_off_soon_sees_it(line: Line, tmp_path: Path, record_testsuite_property: Tell) -> None:
    assert not [held for held in line.tally.holders.values() if held.channel in OFF.values()]
    queries = {name: query for player, channel in OFF.items() for name, query in pages(player, channel=channel).items()}
    with playing(line, tmp_path, queries) as stage:
        stage.play_on(SOON_S)
        rows = judge(line, "off", stage, record_testsuite_property)
    assert all(one["join_s"] < FIRST_S for one in rows), rows
    line.run.supervisor.stop([child.name for child in line.run.supervisor.children.values() if child.name.startswith("play-off")])


def test_low_latency_players_do_not_notice_the_death_of_one_of_two_packagers(
    line: Line, tmp_path: Path, record_testsuite_property: Tell
) -> None:
    with playing(line, tmp_path, pages(*LOW_LATENCY, channel=COPIED)) as stage:
        SCENARIOS["kill"].act(line, stage, COPIED, 0.0)
        judge(line, COPIED, stage, record_testsuite_property)


def test_players_play_on_when_an_encoder_with_other_parameter_sets_takes_over(
    line: Line, tmp_path: Path, record_testsuite_property: Tell
) -> None:
    with playing(line, tmp_path, pages(*LOW_LATENCY, channel=COPIED)) as stage:
        before = line.tally.newest[COPIED]
        succeed_encoder(line, stage, COPIED, preset=OTHER_PRESET)
        stage.until_seen(more_s=EACH_S)
        judge(line, COPIED, stage, record_testsuite_property)
    after = line.tally.newest[COPIED]
    assert {track.init for track in before.tracks} != {track.init for track in after.tracks}
