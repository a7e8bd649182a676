"""HLS playlists rule by rule, where no golden file shows it."""

import re
from collections.abc import Iterable
from dataclasses import replace

import m3u8

from packager.manifest import hls
from packager.manifest.presentations import Presentations
from packager.manifest.view import View
from tests import facts

PERIOD = facts.period()


def view_of(records: Iterable[object]) -> View:
    presentations = Presentations()
    for record in records:
        presentations.apply(record)
    view = presentations.channels["c1"].view()
    assert view is not None
    return view


def test_a_hint_of_another_period_comes_with_its_init_segment_and_is_the_last_of_its_kind() -> None:
    """Media rule 14."""
    second = facts.period(number=1, start_ms=6_000, first_msn=2)
    end = facts.period_end(PERIOD, gops=6, next_msn=2)
    known = [PERIOD, facts.start(), *facts.run(PERIOD, [4, 2])]
    before = hls.media(view_of(known), "v0", low_latency=True)
    assert re.findall("PRELOAD-HINT:(.*)", before) == ['TYPE=PART,URI="../0/v0/76800.part.m4s"']
    after = hls.media(view_of([*known, end, second]), "v0", low_latency=True)
    assert re.findall("PRELOAD-HINT:(.*)", after) == ['TYPE=MAP,URI="../1/v0/init.mp4"', 'TYPE=PART,URI="../1/v0/76800.part.m4s"']
    open_too = hls.media(view_of([*known, end, second, next(iter(facts.run(second, [2])))]), "v0", low_latency=True)
    assert "TYPE=MAP" not in open_too
    assert open_too.count("#EXT-X-MAP") == 2


def test_each_audio_codec_has_a_group_and_every_variant_names_what_it_needs() -> None:
    """Media rule 24; RFC 8216bis 4.4.6.2: CODECS names every format of a variant's renditions."""
    audio = PERIOD.tracks[2]
    german = replace(audio, track="a1", language="de", bandwidth_bps=130_000)
    opus = replace(audio, track="a2", codec="opus", language="en")
    period = replace(PERIOD, tracks=(*PERIOD.tracks, german, opus))
    read = m3u8.loads(hls.multivariant(view_of([period, facts.start(), *facts.run(period, [4])])))
    assert [(m.uri, m.group_id, m.default) for m in read.media] == [
        ("a0.m3u8", "audio", "YES"),
        ("a1.m3u8", "audio", "NO"),
        ("a2.m3u8", "audio-2", "YES"),
    ]
    told = [(p.uri, p.stream_info.audio, p.stream_info.codecs, p.stream_info.bandwidth) for p in read.playlists]
    assert told == [
        ("v0.m3u8", "audio", "avc1.64001e,mp4a.40.2", 1_130_000),
        ("v0.m3u8", "audio-2", "avc1.64001e,opus", 1_120_000),
        ("v1.m3u8", "audio", "avc1.64001f,mp4a.40.2", 2_130_000),
        ("v1.m3u8", "audio-2", "avc1.64001f,opus", 2_120_000),
    ]


def test_the_average_is_measured_and_never_above_the_peak() -> None:
    read = m3u8.loads(hls.multivariant(view_of([PERIOD, facts.start(), *facts.run(PERIOD, [4, 2])])))
    # 100 kB a second in each track, so 0.8 Mb/s and as much for the sound, whose segments are cut some milliseconds later.
    assert [playlist.stream_info.average_bandwidth for playlist in read.playlists] == [1_120_000, 1_597_872]
    assert {playlist.stream_info.frame_rate for playlist in read.playlists} == {25}


def test_what_never_changes_is_equal_in_all_playlists_whatever_the_lengths_are() -> None:
    """Media rules 1, 8, 9."""
    fixed = re.compile("#EXT-X-(?:TARGETDURATION|SERVER-CONTROL|PART-INF):.*")
    seen = set()
    for lengths in ([4, 4], [1, 1, 1], [2, 4, 1]):
        view = view_of([PERIOD, facts.start(), *facts.run(PERIOD, lengths)])
        seen |= {tuple(fixed.findall(hls.media(view, track.track, low_latency=True))) for track in PERIOD.tracks}
    (told,) = seen
    assert told == (
        "#EXT-X-TARGETDURATION:4",
        "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.602,HOLD-BACK=12.0,CAN-SKIP-UNTIL=24.0",
        "#EXT-X-PART-INF:PART-TARGET=0.534",
    )
