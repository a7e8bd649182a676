"""Valid records for tests: periods on a small grid, and the chunks that an encoder would have sent, boxes and all."""

import struct
from collections.abc import Sequence
from dataclasses import replace
from random import Random

from schemas.records import Chunk, Level, MarkKind, MediaMark, Period, Track, TrackKind
from schemas.timeline import boundary, cells, frames_per_gop, make_grid, part_target
from schemas.units import GopOrdinal, Ms, Msn, Ticks, Timescale, UnixMs

NON_SYNC = 0x10000


def box(kind: bytes, *contents: bytes) -> bytes:
    """One ISO BMFF box."""
    body = b"".join(contents)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def make_init(track_id: int = 1) -> bytes:
    """The least init segment that says what the defaults of its one track are."""
    trex = box(b"trex", struct.pack(">IIIIII", 0, track_id, 1, 0, 0, 0))
    return box(b"ftyp", b"cmfc", bytes(4)) + box(b"moov", box(b"mvhd", bytes(100)), box(b"mvex", trex))


def make_payload(
    *, index: int, start: int, durations: Sequence[int], sizes: Sequence[int], sync: bool, track_id: int = 1, seed: int = 0
) -> bytes:
    """One moof and one mdat of random samples."""
    flags = [0x02000000 if sync and i == 0 else 0x01010000 for i in range(len(sizes))]
    samples = b"".join(struct.pack(">III", d, s, f) for d, s, f in zip(durations, sizes, flags, strict=True))

    def moof(data_offset: int) -> bytes:
        trun = box(b"trun", struct.pack(">III", 0x701, len(sizes), data_offset), samples)
        tfhd = box(b"tfhd", struct.pack(">II", 0x20000, track_id))
        tfdt = box(b"tfdt", struct.pack(">IQ", 0x01000000, start))
        return box(b"moof", box(b"mfhd", struct.pack(">II", 0, index % 2**32)), box(b"traf", tfhd, tfdt, trun))

    size = len(moof(0))
    return moof(size + 8) + box(b"mdat", Random(seed).randbytes(sum(sizes)))


def make_track(name: str = "v0") -> Track:
    """A video track (``v...``) of 25 frames in 12,800 ticks, or an audio track of AAC at 48 kHz."""
    video = name.startswith("v")
    return Track(
        track=name,
        kind=TrackKind.VIDEO if video else TrackKind.AUDIO,
        codec="avc1.64001e" if video else "mp4a.40.2",
        timescale=Timescale(12_800 if video else 48_000),
        frame_ticks=Ticks(512 if video else 1_024),
        start_ticks=Ticks(0),
        bandwidth_bps=800_000 if video else 96_000,
        init=make_init(),
        width=640 if video else 0,
        height=360 if video else 0,
        sample_rate_hz=0 if video else 48_000,
        audio_channels=0 if video else 2,
    )


def make_period(channel: str = "news", *, tracks: Sequence[str] = ("v0", "a0"), **fields: object) -> Period:
    """The first period of a channel: 25 fps, GOPs of 1 s in two parts of two chunks."""
    grid = make_grid(25, part_frames=13, chunks_per_part=2)
    made = tuple(make_track(name) for name in tracks)
    period = Period(
        channel=channel,
        period=0,
        life="writer-a",
        pool=0,
        media_partition=0,
        tracks=made,
        frame_rate_num=25,
        frame_rate_den=1,
        grid=grid,
        anchor_unix_ms=UnixMs(1_700_000_000_000),
        zero_unix_ms=UnixMs(1_700_000_000_000),
        first_msn=Msn(0),
        discontinuity=0,
        target_duration_ms=Ms(4_000),
        part_target_ms=part_target(grid, frame_rate_num=25, frame_rate_den=1, tracks=made),
        publish_allowance_ms=Ms(100),
        idle_level=Level.OFF,
        time_shift_ms=Ms(60_000),
        first_offset=0,
    )
    return replace(period, **fields)  # type: ignore[arg-type]


def make_start(period: Period, **fields: object) -> MediaMark:
    """The mark that starts a period."""
    mark = MediaMark(channel=period.channel, life=period.life, kind=MarkKind.PERIOD_START, period=period.period, next_msn=period.first_msn)
    return replace(mark, **fields)  # type: ignore[arg-type]


def make_chunks(
    period: Period,
    segments: Sequence[int] = (2, 4),
    *,
    first_gop: int = 0,
    first_msn: int | None = None,
    frame_bytes: int = 60,
    life: str = "",
) -> list[Chunk]:
    """
    The chunks of some segments, in the order of an encoder's log: by time, then by track.

    Args:
        period: Their period.
        segments: GOPs of each segment.
        first_gop: Ordinal of the first GOP.
        first_msn: Media sequence number of the first segment; absent: the period's.
        frame_bytes: Size of a sample.
        life: Writer; empty: the period's.
    """
    chunks: list[Chunk] = []
    grid = list(cells(period.grid))
    msn = period.first_msn if first_msn is None else first_msn
    for count in segments:
        for gop in range(first_gop, first_gop + count):
            begin = 0
            for number, cell in enumerate(grid):
                for order, track in enumerate(period.tracks):
                    base = gop * frames_per_gop(period)
                    start, end = boundary(period, track, base + begin), boundary(period, track, base + cell.end_frames)
                    frames = (end - start) // track.frame_ticks
                    index = gop * len(grid) + number
                    sync = track.kind is TrackKind.AUDIO or number == 0
                    payload = make_payload(
                        index=index, start=start, durations=[track.frame_ticks] * frames, sizes=[frame_bytes + order] * frames, sync=sync,
                        seed=index * 16 + order,
                    )  # fmt: skip
                    chunks.append(
                        Chunk(
                            channel=period.channel, period=period.period, track=track.track, life=life or period.life, gop=GopOrdinal(gop),
                            msn=Msn(msn), first_gop=GopOrdinal(first_gop), gop_count=count, index=index, part=cell.part,
                            ends_part=cell.ends_part, ends_gop=cell.ends_gop, independent=sync, start_ticks=start,
                            duration_ticks=Ticks(end - start), produced_unix_ms=UnixMs(0), payload=payload,
                        )
                    )  # fmt: skip
                begin = cell.end_frames
        first_gop, msn = first_gop + count, msn + 1
    return chunks
