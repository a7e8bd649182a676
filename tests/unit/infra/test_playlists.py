"""What a viewer makes of playlists, and holds against them."""

import pytest

from infra.playlists import BadPlaylistError, Playlist, contradictions, parse_media, parse_multivariant

HEAD = "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:4\n#EXT-X-SERVER-CONTROL:HOLD-BACK=12.0,CAN-BLOCK-RELOAD=YES\n"


def media(*lines: str, first: int = 0, discontinuities: int = 0) -> Playlist:
    text = f"{HEAD}#EXT-X-MEDIA-SEQUENCE:{first}\n#EXT-X-DISCONTINUITY-SEQUENCE:{discontinuities}\n" + "\n".join(lines)
    return parse_media(text, "http://o/a/hls/v0.m3u8")


def segment(name: str, seconds: float = 2) -> str:
    return f"#EXTINF:{seconds:.3f},\n/a/0/v0/{name}.m4s"


def test_variants_come_by_rising_bandwidth_with_their_audio() -> None:
    text = """#EXTM3U
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="main",DEFAULT=YES,URI="a0.m3u8"
#EXT-X-STREAM-INF:BANDWIDTH=900000,CODECS="avc1.64001f,mp4a.40.2",AUDIO="a"
v1.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=500000,CODECS="avc1.4d401e,mp4a.40.2",AUDIO="a"
v0.m3u8
"""
    variants = parse_multivariant(text, "http://o/a/hls/multivariant.m3u8")
    assert [(v.url, v.audio_url, v.bandwidth_bps) for v in variants] == [
        ("http://o/a/hls/v0.m3u8", "http://o/a/hls/a0.m3u8", 500_000),
        ("http://o/a/hls/v1.m3u8", "http://o/a/hls/a0.m3u8", 900_000),
    ]


def test_segments_are_numbered_and_gaps_have_no_address() -> None:
    playlist = media(
        '#EXT-X-MAP:URI="/a/0/v0/init.mp4"', segment("0"), "#EXT-X-GAP", segment("2"), "#EXT-X-DISCONTINUITY", segment("4"), first=7
    )
    assert [(s.msn, s.url, s.discontinuity) for s in playlist.segments] == [
        (7, "http://o/a/0/v0/0.m4s", 0),
        (8, None, 0),
        (9, "http://o/a/0/v0/4.m4s", 1),
    ]
    assert (playlist.target_s, playlist.hold_back_s, playlist.ended) == (4, 12.0, False)


def test_a_list_that_slides_and_grows_contradicts_nothing() -> None:
    assert list(contradictions(media(segment("0"), segment("2")), media(segment("2"), segment("4"), first=1))) == []


@pytest.mark.parametrize(
    ("after", "told"),
    [
        (media(segment("0"), segment("3")), "segment 1 changed"),
        (media(segment("0"), segment("2", 1)), "segment 1 changed"),
        (media(segment("0"), "#EXT-X-DISCONTINUITY", segment("2")), "segment 1 changed"),
        (media(segment("0")), "the last segment fell"),
        (media(), "all segments vanished"),
    ],
)
def test_what_was_listed_is_never_taken_back(after: Playlist, told: str) -> None:
    problems = list(contradictions(media(segment("0"), segment("2")), after))
    assert any(told in problem for problem in problems), problems


@pytest.mark.parametrize("text", ["<html>", "", "#EXTM3U\n", f"{HEAD}seg.m4s\n", f"{HEAD}#EXTINF:5,\nseg.m4s\n"])
def test_what_is_no_playlist_or_breaks_its_own_target_is_refused(text: str) -> None:
    with pytest.raises(BadPlaylistError):
        parse_media(text, "http://o/a/hls/v0.m3u8")
