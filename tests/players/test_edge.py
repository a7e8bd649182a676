"""Players of low latency at the ends of periods: an encoder that starts anew, and a channel that ends."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from infra.kafka import LocalBroker
from schemas.records import Level
from tests.line import Line, whole_line
from tests.players.report import is_fatal
from tests.players.scenarios import EACH_S, pages
from tests.players.stage import figures, playing

pytestmark = pytest.mark.timeout(240)
PAGES = pages("hls.js-ll", "dash.js-ll", "shaka-ll-dash", channel="edge")
Tell = Callable[[str, object], None]


@pytest.fixture(scope="module")
def line(kafka: LocalBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    with whole_line(kafka, tmp_path_factory.mktemp("edge"), packagers=1) as made:
        made.play("edge", idle=Level.PARTS)
        made.goes_on("edge", segments=3)
        yield made


def test_players_play_on_when_the_encoder_starts_anew_and_come_to_the_end_of_the_channel(
    line: Line, tmp_path: Path, record_testsuite_property: Tell
) -> None:
    supervisor = line.run.supervisor
    (encoder,) = (child for child in supervisor.children.values() if child.role == "encode")
    with playing(line, tmp_path, PAGES) as stage:
        line.goes_on("edge", segments=1)
        supervisor.kill(encoder.name)
        supervisor.revive(supervisor.children[encoder.name])
        stage.until(lambda tally: ("edge", 1) in tally.periods, what="the next period")
        stage.until_seen(more_s=EACH_S)
        # The encoder is told to end: the last segments are listed, then the end, and all of it is played.
        supervisor.stop([encoder.name])
        stage.until(lambda tally: any(end.channel_ended for end in tally.ends.values()), what="the end of the channel")
        stage.until_over()
        seen = stage.end()
    for name, page in seen.items():
        record_testsuite_property(f"edge: {name}", json.dumps(figures(page)))
    for name, page in seen.items():
        assert page["started"], name
        assert not page["behind"], figures(page)
        # Players tell of every request that they try again.
        assert not [error for error in page["errors"] if is_fatal(name, error)], figures(page)
        assert page["played_s"] >= EACH_S, figures(page)
