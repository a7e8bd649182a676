"""A seek bar's pictures: Shaka Player and dash.js find the thumbnails of a live channel and can show them."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from infra.kafka import LocalBroker
from schemas.records import Level
from schemas.timeline import THUMBNAIL_SUFFIX
from tests.line import whole_line

pytestmark = pytest.mark.timeout(240)
HERE = Path(__file__).parent
CHANNEL = "arena"
SEGMENTS = 5


def test_players_show_the_thumbnails_that_the_manifests_list(kafka: LocalBroker, tmp_path: Path) -> None:
    with whole_line(kafka, tmp_path, packagers=2, MEDIA__THUMBNAILS=True) as line:
        line.play(CHANNEL, idle=Level.PARTS)
        line.goes_on(CHANNEL, segments=SEGMENTS)
        listed = line.until(lambda _: "IMAGE-STREAM" in line.get(f"/{CHANNEL}/hls/multivariant.m3u8")[1], what="thumbnails")
        assert listed
        spec = {"chromium": shutil.which("chromium"), "origin": line.run.origin_url, "channel": CHANNEL}
        (tmp_path / "spec.json").write_text(json.dumps(spec))
        subprocess.run(["node", HERE / "thumbs.mjs", tmp_path / "spec.json", tmp_path / "seen.json"], check=True, timeout=150)
        seen = json.loads((tmp_path / "seen.json").read_text())
        assert set(seen) == {"shaka-hls", "shaka-dash", "dash.js"}
        for name, picture in seen.items():
            assert "error" not in picture, (name, picture)
            assert (picture["width"], picture["height"], picture["type"]) == (160, 90, "image/jpeg"), (name, picture)
            assert picture["tile"] == [160, 90], (name, picture)
            assert f"/{CHANNEL}/0/thumb0/" in picture["uri"]
            assert picture["uri"].endswith(THUMBNAIL_SUFFIX)
        line.end()
        assert line.tally.rejects == 0
        assert not line.tally.failures
