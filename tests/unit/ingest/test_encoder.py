"""The ladder on small clips, read back by an independent demuxer."""

import io
from collections import defaultdict
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import pytest

from schemas.errors import UserError
from schemas.records import Track, TrackKind
from schemas.units import Ticks
from streams.ingest.cmaf import build_chunk
from streams.ingest.encoder import Encoder
from streams.ingest.init import InitSegment
from streams.ingest.ladder import Rendition, loop_gops
from streams.ingest.recording import load_recording, make_recording
from streams.ingest.samples import Sample
from tests.unit.ingest.fakes import make_clip

SMALL = (
    Rendition(track="v0", width=32, height=18, bitrate_bps=30_000),
    Rendition(track="v1", width=64, height=36, bitrate_bps=60_000),
)


def encode(source: Path, *, frames: int | None = None, loop: bool = False) -> tuple[Encoder, dict[str, list[Sample]]]:
    samples: dict[str, list[Sample]] = defaultdict(list)
    with Encoder(str(source), loop=loop, ladder=SMALL, preset="ultrafast") as encoder:
        for item in encoder.samples():
            if item and isinstance(item[1], Sample):
                samples[item[0]].append(item[1])
            if frames and all(len(samples[t.track]) >= frames for t in encoder.tracks):
                break
    return encoder, samples


def as_file(track: Track, samples: list[Sample]) -> io.BytesIO:
    read = InitSegment(track.init)
    chunks = [samples[at : at + 7] for at in range(0, len(samples), 7)]
    pieces = [
        build_chunk(chunk, track_id=read.track_id, index=index, start_ticks=chunk[0].time_ticks, frame_ticks=track.frame_ticks)
        for index, chunk in enumerate(chunks)
    ]
    return io.BytesIO(track.init + b"".join(pieces))


@pytest.mark.parametrize("rate", [Fraction(25), Fraction(30_000, 1_001), Fraction(24), Fraction(30)], ids=str)
def test_every_track_decodes_whole_with_even_timestamps(tmp_path: Path, rate: Fraction) -> None:
    encoder, samples = encode(make_clip(tmp_path / "clip.mp4", rate=rate, seconds=2))
    assert (encoder.rate, [t.track for t in encoder.tracks]) == (rate, ["v0", "v1", "a0"])
    for track in encoder.tracks:
        held = samples[track.track]
        with av.open(as_file(track, held), "r") as container:
            stream = container.streams[0]
            frames = list(container.decode(stream))
            assert (stream.time_base, len(frames)) == (Fraction(1, track.timescale), len(held))
        times = [frame.pts for frame in frames if frame.pts is not None]
        assert times[0] == 0
        assert {b - a for a, b in pairwise(times)} == {track.frame_ticks}
        assert Fraction(track.frame_ticks, track.timescale) == (1 / rate if track.kind is TrackKind.VIDEO else Fraction(1_024, 48_000))
    assert [i for i, s in enumerate(samples["v0"]) if s.sync] == [i for i, s in enumerate(samples["v1"]) if s.sync] == [0, round(rate)]


def test_key_frames_carry_the_parameter_sets_of_the_init_segment(tmp_path: Path) -> None:
    encoder, samples = encode(make_clip(tmp_path / "clip.mp4"))
    first = samples["v1"][0].data
    at, kinds = 0, {}
    while at < len(first):
        size = int.from_bytes(first[at : at + 4], "big")
        kinds[first[at + 4] & 0x1F] = first[at + 4 : at + 4 + size]
        at += 4 + size
    assert {5, 7, 8} <= set(kinds)
    assert kinds[7] in encoder.tracks[1].init
    assert kinds[8] in encoder.tracks[1].init
    assert encoder.tracks[1].codec == f"avc1.{kinds[7][1:4].hex()}"
    assert encoder.tracks[2].codec == "mp4a.40.2"


def test_a_repeated_clip_goes_on_without_a_seam(tmp_path: Path) -> None:
    _, samples = encode(make_clip(tmp_path / "clip.mp4", seconds=0.9), frames=90, loop=True)
    assert {b.time_ticks - a.time_ticks for a, b in pairwise(samples["v0"])} == {1_000}
    assert {b.time_ticks - a.time_ticks for a, b in pairwise(samples["a0"])} == {1_024}


def test_a_source_without_sound_has_video_tracks_only(tmp_path: Path) -> None:
    encoder, _ = encode(make_clip(tmp_path / "clip.mp4", audio=False))
    assert [t.kind for t in encoder.tracks] == [TrackKind.VIDEO] * 2


def test_a_source_is_never_enlarged(tmp_path: Path) -> None:
    encoder, _ = encode(make_clip(tmp_path / "clip.mp4", size=(48, 32)))
    assert [(t.width, t.height) for t in encoder.tracks if t.width] == [(28, 18)]


def test_sound_alone_is_no_channel(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no video track"):
        Encoder(str(make_clip(tmp_path / "clip.mp4", video=False)))


def test_a_file_that_is_no_video_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.mp4").write_text("not a film\n" * 100)
    with pytest.raises(UserError, match="is no video"):
        Encoder(str(tmp_path / "notes.mp4"))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone\.mp4 does not exist"):
        Encoder(str(tmp_path / "gone.mp4"))


def test_a_recording_is_whole_gops_and_whole_audio_frames(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", seconds=1.3)
    assert make_recording(str(clip), tmp_path / "kept", 6, ladder=SMALL, preset="ultrafast") == 8
    recording = load_recording(tmp_path / "kept")
    assert {t.track: len(recording.samples[t.track]) for t in recording.tracks} == {"v0": 200, "v1": 200, "a0": 375}
    assert [s.time_ticks for s in recording.samples["a0"]] == [Ticks(1_024 * i) for i in range(375)]
    before = (tmp_path / "kept" / "v0").stat().st_mtime_ns
    make_recording(str(clip), tmp_path / "kept", 6)
    assert (tmp_path / "kept" / "v0").stat().st_mtime_ns == before


def test_a_damaged_recording_is_refused(tmp_path: Path) -> None:
    make_recording(str(make_clip(tmp_path / "clip.mp4", audio=False)), tmp_path / "kept", 1, ladder=SMALL, preset="ultrafast")
    (tmp_path / "kept" / "v1").write_bytes(b"")
    with pytest.raises(UserError, match="track v1 is not 1 s long"):
        load_recording(tmp_path / "kept")


def test_ntsc_recordings_are_as_long_as_picture_and_sound_take_to_meet() -> None:
    gops = loop_gops(Fraction(30_000, 1_001), seconds=20, has_audio=True)
    assert (gops * Fraction(30 * 1_001, 30_000) * 48_000 / 1_024).denominator == 1
