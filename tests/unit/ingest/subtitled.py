"""Small sources that carry text."""

from pathlib import Path

import av

from tests.unit.ingest.fakes import make_clip

SHOWN = ((1.0, 2.2, "<i>one</i> & two"), (2.5, 3.0, "line\nline"))


def subtitled(folder: Path, *, seconds: float = 4.0, shown: tuple[tuple[float, float, str], ...] = SHOWN, **clip: tuple[int, int]) -> Path:
    """A Matroska file with a picture, a tone and SubRip text in German."""
    text = folder / "text.srt"
    text.write_text("".join(f"{n}\n{_clock(start)} --> {_clock(end)}\n{words}\n\n" for n, (start, end, words) in enumerate(shown, 1)))
    made = make_clip(folder / "clip.mp4", seconds=seconds, **clip)  # type: ignore[arg-type]  # sizes alone
    target = folder / "subtitled.mkv"
    with av.open(str(made)) as media, av.open(str(text)) as words, av.open(str(target), "w") as out:
        streams = {stream: out.add_stream_from_template(stream) for stream in (*media.streams, *words.streams)}
        streams[words.streams[0]].metadata["language"] = "ger"
        packets = [packet for source in (media, words) for packet in source.demux() if packet.dts is not None]
        for packet in sorted(packets, key=lambda packet: (packet.dts or 0) * (packet.time_base or 0)):
            packet.stream = streams[packet.stream]
            out.mux(packet)
    return target


def _clock(seconds: float) -> str:
    ms = round(seconds * 1_000)
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1_000 % 60:02},{ms % 1_000:03}"
