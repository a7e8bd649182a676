"""Text tracks in manifests: chunks in DASH, WebVTT beside them in HLS; without text nothing changes."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from itertools import islice

import m3u8
from mpegdash.parser import MPEGDASHParser

from packager.manifest import dash, finished, hls
from packager.manifest.presentation import View
from packager.manifest.presentations import Presentations
from schemas.records import Period
from schemas.units import ticks_from_ms
from streams.ingest.codecs import text_track
from tests import facts


def captioned(number: int = 0, *, start_ms: int = 0, first_msn: int = 0) -> Period:
    """A period with German and English text."""
    plain = facts.period(number=number, start_ms=start_ms, first_msn=first_msn, time_shift_ms=60_000)
    texts = [text_track(n, language, Fraction(25)) for n, language in enumerate(("ger", "eng"))]
    own = [replace(text, start_ticks=ticks_from_ms(start_ms, text.timescale)) for text in texts]
    return replace(plain, tracks=(*plain.tracks, *own))


def view_of(records: list[object]) -> View:
    presentations = Presentations()
    for record in records:
        presentations.apply(record)
    view = presentations.channels["c1"].view()
    assert view is not None
    return view


def live() -> View:
    """Seven segments of changing length and two parts of the next."""
    period = captioned()
    return view_of([period, facts.start(), *islice(facts.run(period, [4, 1, 2, 4, 4, 1, 1, 4]), 43)])


def test_every_manifest_with_text_is_as_reviewed(golden: Callable[[str, str], None]) -> None:
    view = live()
    golden("manifest/captions.multivariant.m3u8", hls.multivariant(view))
    golden("manifest/captions.hls.t0.m3u8", hls.media(view, "t0", low_latency=False))
    golden("manifest/captions.ll.t0.m3u8", hls.media(view, "t0", low_latency=True))
    golden("manifest/captions.mpd", dash.manifest(view, time_url="../../time"))
    golden("manifest/captions.ll.mpd", dash.manifest(view, time_url="../../time", low_latency=True))


def test_text_is_in_step_with_the_pictures_and_named_as_web_vtt() -> None:
    view = live()
    for low_latency in (False, True):
        text, picture = (m3u8.loads(hls.media(view, track, low_latency=low_latency)) for track in ("t0", "v0"))
        assert (text.media_sequence, text.target_duration) == (picture.media_sequence, picture.target_duration)
        assert [s.duration for s in text.segments] == [s.duration for s in picture.segments]
        assert [s.current_program_date_time for s in text.segments] == [s.current_program_date_time for s in picture.segments]
        assert all(s.uri is None or s.uri.endswith(".vtt") for s in text.segments)
        assert not any(text.segment_map)
    assert text.preload_hint.uri.endswith(".part.vtt")
    assert all(part.uri.endswith(".part.vtt") for segment in text.segments for part in segment.parts)


def test_another_parser_finds_the_subtitles_of_every_variant() -> None:
    read = m3u8.loads(hls.multivariant(live()))
    found = [(m.type, m.group_id, m.name, m.language, m.uri) for m in read.media if m.type == "SUBTITLES"]
    assert found == [("SUBTITLES", "text", "ger", "ger", "t0.m3u8"), ("SUBTITLES", "text", "eng", "eng", "t1.m3u8")]
    assert [p.stream_info.subtitles for p in read.playlists] == ["text", "text"]
    mpd = MPEGDASHParser.parse(dash.manifest(live(), time_url="t"))
    sets = [s for s in mpd.periods[0].adaptation_sets if s.content_type == "text"]
    assert [(s.mime_type, s.lang, s.representations[0].codecs, s.representations[0].id) for s in sets] == [
        ("application/mp4", "ger", "wvtt", "t0"), ("application/mp4", "eng", "wvtt", "t1"),
    ]  # fmt: skip


def test_text_that_a_later_period_does_not_have_is_a_gap_without_an_init_segment() -> None:
    first, second = captioned(), facts.period(number=1, start_ms=6_000, first_msn=2, time_shift_ms=60_000)
    end = facts.period_end(first, gops=6, next_msn=2)
    view = view_of([first, facts.start(), *facts.run(first, [4, 2]), end, second, *facts.run(second, [4])])
    text = hls.media(view, "t0", low_latency=False)
    assert "#EXT-X-GAP\n#EXTINF:4.000000,\n../1/t0/" in text
    assert text.rstrip().endswith(".vtt")
    assert "EXT-X-MAP" not in text


def test_what_is_kept_of_a_channel_names_the_text_that_is_to_be_made() -> None:
    period = captioned()
    end = facts.period_end(period, gops=6, next_msn=2, channel_ended=True)
    view = view_of([period, facts.start(), *facts.run(period, [4, 2]), end])
    names = [(name, source) for name, source, _ in finished.captions(view)]
    assert names[0] == ("c1/0/t0/0.vtt", "c1/0/t0/0.m4s")
    kept = dict(finished.objects(view))
    listed = [segment.uri for track in ("t0", "t1") for segment in m3u8.loads(kept[f"c1/0/{track}.m3u8"].decode()).segments]
    assert sorted(listed) == sorted(name.replace("c1/", "../") for name, _ in names)
