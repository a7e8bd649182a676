"""What is kept of a channel that has ended."""

from collections.abc import Iterable

import m3u8
from mpegdash.parser import MPEGDASHParser

from packager.manifest import finished
from packager.manifest.known import ALL, Reading
from packager.manifest.presentations import Presentations
from packager.manifest.view import View
from schemas.records import Parts, Reports
from schemas.units import UnixMs
from tests import facts

FIRST = facts.period(time_shift_ms=24_000)
SECOND = facts.period(number=1, start_ms=20_000, first_msn=5, time_shift_ms=24_000)
MADE = [*facts.run(FIRST, [4, 4, 4, 4, 4]), *facts.run(SECOND, [4, 4, 2])]
ENDS = [facts.period_end(FIRST, gops=20, next_msn=5), facts.period_end(SECOND, gops=10, next_msn=8, channel_ended=True)]


def view_of(records: Iterable[object], reading: Reading = ALL) -> View:
    presentations = Presentations(reading)
    for record in records:
        presentations.apply(record)
    view = presentations.channels["c1"].view()
    assert view is not None
    return view


def test_playlists_are_complete_and_lie_where_their_objects_are() -> None:
    kept = dict(finished.objects(view_of([FIRST, SECOND, facts.start(), *MADE, *ENDS])))
    assert kept["c1/0/v0/init.mp4"] == kept["c1/1/v0/init.mp4"] == b"init-v0"
    multivariant = m3u8.loads(kept["c1/1/multivariant.m3u8"].decode())
    assert [playlist.uri for playlist in multivariant.playlists] == ["v0.m3u8", "v1.m3u8"]
    playlist = m3u8.loads(kept["c1/1/v0.m3u8"].decode())
    assert (playlist.playlist_type, playlist.is_endlist) == ("vod", True)
    assert [segment.uri for segment in playlist.segments][-3:] == ["../1/v0/256000.m4s", "../1/v0/307200.m4s", "../1/v0/358400.m4s"]
    assert sum(segment.duration for segment in playlist.segments) >= 24
    mpd = MPEGDASHParser.parse(kept["c1/1/manifest.mpd"].decode())
    assert (mpd.type, [period.start for period in mpd.periods], mpd.media_presentation_duration) == ("static", ["PT0S", "PT16S"], "PT26S")


def test_an_origin_that_began_to_read_later_keeps_the_same() -> None:
    early = view_of([FIRST, SECOND, facts.start(), *MADE, *ENDS])
    recent = [record for record in MADE if isinstance(record, Parts | Reports) and not _is_old(record)]
    since = UnixMs(facts.ZERO + 4_100)
    reading = Reading(from_unix_ms=since, began_unix_ms=UnixMs(since + 60_000))
    late = view_of([FIRST, SECOND, *ENDS, facts.start(cause=""), *recent], reading)
    assert dict(finished.objects(late)) == dict(finished.objects(early))


def _is_old(record: Parts | Reports) -> bool:
    return (record.parts if isinstance(record, Parts) else record.segments)[0].msn < 1
