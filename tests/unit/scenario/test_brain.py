"""What a scenario puts into the folds is what the folds would have made of the records."""

from pathlib import Path

from schemas.records import Gop, GopTrack
from schemas.units import GopOrdinal, Msn, Ticks, UnixMs
from streams.core.state import State
from streams.simulate.engine import START
from streams.simulate.scenario.brain import segments_of
from streams.simulate.scenario.casting import Part, cast
from streams.simulate.scenario.line import Line
from streams.simulate.scenario.reading import scenario_of
from streams.simulate.scenario.timeline import Timeline

CHUNKS = 4


def gops(line: Line, until_ms: float) -> list[Gop]:
    """Records of a channel, each when its last chunk is in the log."""
    part, made, ordinal = line.part, [], 0
    while (end := part.begins_ms + (ordinal + 1) * line.gop_ms) <= until_ms:
        msn = line.timeline.open_at(end - 1)
        first = round((line.timeline.start(msn) - part.begins_ms) / line.gop_ms)
        offset = ordinal * CHUNKS * line.tracks
        made.append(
            Gop(
                channel=part.channel, period=0, life="encoder", gop=GopOrdinal(ordinal), msn=Msn(msn), first_gop=GopOrdinal(first),
                gop_count=round(line.timeline.length(msn) / line.gop_ms), tracks=tracks(part), first_offset=offset,
                last_offset=offset + CHUNKS * line.tracks - 1, durable_unix_ms=UnixMs(START + round(end)),
            )
        )  # fmt: skip
        ordinal += 1
    return made


def tracks(part: Part) -> tuple[GopTrack, ...]:
    sizes = [round(rate) for rate in part.bytes_per_s]
    return tuple(
        GopTrack(track=track.track, start_ticks=Ticks(0), duration_ticks=Ticks(1), size=size, chunk_count=CHUNKS)
        for track, size in zip(part.period.tracks, sizes, strict=True)
    )


def test_the_index_is_what_the_fold_of_its_records_is() -> None:
    scenario = scenario_of({"channels": {"count": 1, "video_kbps": [400, 800], "audio_kbps": [96]}}, name="test")
    (part,) = cast(scenario, Path)
    line = Line(0, part, Timeline(part.begins_ms, length_ms=4_000))
    line.timeline.plan(-40_000.0, 2_000)
    line.timeline.plan(-20_000.0, 3_000)
    now = 1_500.0
    state = State(0)
    for offset, gop in enumerate(gops(line, now)):
        state.fold("gops", gop, offset=offset, at=gop.durable_unix_ms)
    folded = state.rows("gops")[part.channel].segments
    said = segments_of(line, now)
    assert len(said) >= 4
    assert folded[-len(said) :] == said
