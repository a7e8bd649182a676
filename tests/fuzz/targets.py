"""What is fuzzed: where bytes of others come in. Each takes what it is given, or rejects it with a reason; anything else is a crash."""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from random import Random
from urllib.parse import parse_qsl

from hypothesis import HealthCheck, given, settings

from packager import webvtt
from packager.boxes import check_chunk, read_init
from packager.cuts import CutFailed, CutReject
from packager.holding import Inbox
from packager.manifest import dash, hls
from packager.manifest.presentations import Presentations
from packager.origin import cmcd
from packager.origin.manifests import BadRequestError, read_blocking, refusal
from packager.origin.replies import span
from packager.scope import Scope
from packager.slicing import PeriodUnknownError, SliceCutter
from schemas.codec import HEADER_SIZE, RECORDS, Codec
from schemas.errors import RejectedError
from schemas.records import Assignment, Chunk, MediaMark, Packaging, Parts, Period, PeriodEnd, Reports, Void
from schemas.topics import INPUTS
from schemas.units import Msn, UnixMs
from streams.core.state import State
from streams.ingest.fragments import FragmentReader, Init, Samples
from streams.ingest.init import InitSegment
from streams.ingest.nal import has_idr, split_annex_b
from streams.ingest.text import init_segment, make_cue, read_cues
from tests import builders, builders_control, facts
from tests.strategies import of_record
from tests.unit.ingest.pushes import Picture, Sound, push

CODEC = Codec()
PERIOD = builders.make_period()
CHUNKS = builders.make_chunks(PERIOD, (1, 2), frame_bytes=9)
SAMPLES_PER_RECORD = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """
    A way in.

    Attributes:
        run: Takes one input, the generator for what else it draws; raises one of `errors` with a reason, or has taken it.
        seeds: Good inputs.
        has_boxes: Whether they consist of ISO BMFF boxes.
        head_bytes: What stands before all else and mostly stays as it is, lest nothing behind it is ever read.
        share: Of a thousand cases.
        errors: How it says no.
    """

    run: Callable[[bytes, Random], object]
    seeds: Callable[[], Sequence[bytes]]
    has_boxes: bool = False
    head_bytes: int = 0
    share: int
    errors: tuple[type[Exception], ...] = (RejectedError,)


def _chunk_boxes(data: bytes, rng: Random) -> None:
    chunk = rng.choice(CHUNKS)
    track = next(track for track in PERIOD.tracks if track.track == chunk.track)
    check_chunk(replace(chunk, payload=data), track)


def _media_log(data: bytes, rng: Random) -> None:
    """A record among good ones, as a packager reads the log: all others are cut as if it had not been there, or what is lost is told."""
    log = [*_media_records()]
    log[rng.randrange(len(log))] = data
    cutter = SliceCutter(Scope(tracks=frozenset({"v0", "a0"}), from_msn=Msn(0)), check=check_chunk)
    told: list[str] = []
    for offset, record in enumerate(log):
        try:
            read: Chunk | MediaMark = CODEC.decode_chunk_header(record)
            if isinstance(read, Chunk) and cutter.needs(read):
                whole = CODEC.decode(record)
                assert isinstance(whole, Chunk)
                read = whole
            cuts = cutter.feed(read, offset=offset, durable_unix_ms=UnixMs(offset), periods={0: PERIOD})
        except (RejectedError, PeriodUnknownError) as error:
            told.append(str(error))
            continue
        told += [cut.error for cut in cuts if isinstance(cut, CutReject | CutFailed)]
    assert cutter.held_bytes >= 0
    if told:
        raise RejectedError(told[0])


@cache
def _media_records() -> tuple[bytes, ...]:
    return (CODEC.encode(builders.make_start(PERIOD)), *(CODEC.encode(chunk) for chunk in CHUNKS))


def _record(data: bytes, _: Random) -> None:
    """Any record of any topic, by the codec into whatever folds it."""
    record = CODEC.decode(data)
    for title in [topic.title for topic in INPUTS if type(record) in topic.records]:
        State(0).fold(title, record, offset=0, at=UnixMs(facts.ZERO))
    Inbox("p1", "l1").fold("c1/all/0/0", record if isinstance(record, Assignment) else None)


def _manifest(data: bytes, rng: Random) -> None:
    """A record among those that origins fold, and the manifests of it."""
    record = CODEC.decode(data)
    if not isinstance(record, Period | PeriodEnd | Parts | Reports | Packaging | Void):
        raise RejectedError(f"a {type(record).__name__} is not folded by origins")
    period, shown = facts.period(), Presentations()
    log: list[object] = [period, facts.start(), *facts.run(period, [4, 2])]
    log.insert(rng.randint(0, len(log)), record)
    for one in log:
        shown.apply(one)
    for held in list(shown.channels.values()):
        view = held.view() if held.periods else None
        if view is None:
            continue
        hls.multivariant(view)
        for track in view.period.tracks:
            hls.media(view, track.track, low_latency=rng.random() < 0.5)
        dash.manifest(view, time_url="/time")
        refusal(view, read_blocking({"_HLS_msn": "7"}))


@cache
def _record_seeds() -> tuple[bytes, ...]:
    found: list[bytes] = []
    for kind in RECORDS:

        @settings(max_examples=SAMPLES_PER_RECORD, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
        @given(of_record(kind))
        def collect(record: object) -> None:
            found.append(CODEC.encode(record))

        collect()
    control = builders_control
    real = [
        PERIOD, CHUNKS[0], control.a_period(), control.a_period_end(), control.a_gop(), control.a_heartbeat(), control.a_demand(),
        control.some_forecasts(control.a_forecast()), control.a_report(), *_manifest_records(),
    ]  # fmt: skip
    return (*found, *(CODEC.encode(record) for record in real))


def _manifest_seeds() -> list[bytes]:
    return [CODEC.encode(record) for record in _manifest_records()]


def _manifest_records() -> list[object]:
    period = facts.period()
    void = facts.void(period, period.tracks[0], 1, 4, 2)
    return [period, facts.start(), facts.stop(), void, facts.period_end(period, gops=6, next_msn=2), *facts.run(period, [4, 2])]


def _init(data: bytes, _: Random) -> None:
    said = []
    for read in (read_init, InitSegment, webvtt.read_timescale):
        try:
            read(data)
        except RejectedError as error:
            said.append(str(error))
    if len(said) == 3:
        raise RejectedError(said[1])


def _init_seeds() -> list[bytes]:
    pushed = [piece for body in _push_seeds() for piece in FragmentReader().feed(body) if isinstance(piece, Init)]
    return [PERIOD.tracks[0].init, init_segment(1_000, "deu"), *(init for piece in pushed for init in piece.tracks.values())]


def _push(data: bytes, rng: Random) -> None:
    """A body as it comes, in pieces, and what its samples hold."""
    reader, texts, at = FragmentReader(), dict[int, int](), 0
    while at < len(data):
        size = rng.choice((7, 100, 1_000, 2**20))
        for piece in reader.feed(data[at : at + size]):
            if isinstance(piece, Init):
                tracks = {number: InitSegment(init) for number, init in piece.tracks.items()}
                texts = {number: track.timescale for number, track in tracks.items() if track.is_text}
            elif isinstance(piece, Samples):
                assert len(piece.samples) == len(piece.durations)
                if piece.number in texts:
                    list(read_cues(piece.samples, piece.durations, texts[piece.number]))
                else:
                    for sample in piece.samples:
                        has_idr(sample.data)
        at += size


@cache
def _push_seeds() -> tuple[bytes, ...]:
    found = []
    sets: tuple[list[Picture | Sound], ...] = ([Picture()], [Sound()], [Picture(), Sound()], [Picture(codec="libx265", b_frames=1)])
    for tracks in sets:
        body = io.BytesIO()
        push(body, tracks, seconds=1)
        found.append(body.getvalue())
    return (*found, _text_body())


def _text_body() -> bytes:
    cue = make_cue(Fraction(0), Fraction(1), "one <b>two")
    assert cue is not None
    sizes = [len(cue.box)]
    payload = builders.make_payload(index=0, start=0, durations=[1_000], sizes=sizes, sync=True)
    return init_segment(1_000, "deu") + payload[: -sizes[0]] + cue.box


def _text(data: bytes, rng: Random) -> None:
    whole = init_segment(1_000, "deu")
    init, body = (data[: len(whole)], data[len(whole) :]) if rng.random() < 0.5 else (whole, data)
    webvtt.render(body, init)


def _text_seeds() -> tuple[bytes, ...]:
    body = _text_body()
    return body, body[len(init_segment(1_000, "deu")) :]


def _nal(data: bytes, _: Random) -> None:
    has_idr(data)
    has_idr(data, hevc=True)
    assert sum(map(len, split_annex_b(data))) <= len(data)


def _cmcd(data: bytes, _: Random) -> None:
    text = data.decode("latin-1")
    cmcd.read(text)
    cmcd.read_request(text, {"cmcd-request": text, "cmcd-session": text})
    cmcd.read_events(text)


CMCD_SEEDS = (
    b'bl=21300,br=3200,bs,cid="faec5fc2-ac30-11ea",d=4004,dl=18500,mtp=48100,nor="..%2F300k%2Ft.m4v",nrr="12323-48763",ot=v,pr=1.08,rtp=12000',
    b'sf=d,sid="6e2fb550-c457-11e9-bb97-0800200c9a66",st=l,su,tb=6000',
    b'v=2,e=ps,sta=p,ts=1700000000000,bl=(2100;v 1900;a),br=(5000;v),cid="x \\"y\\"",com.example-x=%22z%22',
    b"CMCD=bl%3D1000%2Cbr%3D(1 2;a=b)",
)


def _request(data: bytes, _: Random) -> None:
    text = data.decode("latin-1")
    found = span(text, 1_000)
    assert found is None or 0 <= found[1] <= 1_000
    read_blocking(dict(parse_qsl(text)))


REQUEST_SEEDS = (b"bytes=0-99", b"bytes=-5", b"bytes=7-", b"_HLS_msn=7&_HLS_part=1&_HLS_skip=YES", b"_HLS_msn=0")

TARGETS: Mapping[str, Target] = {
    "chunk": Target(run=_chunk_boxes, seeds=lambda: [chunk.payload for chunk in CHUNKS], has_boxes=True, share=330),
    "log": Target(run=_media_log, seeds=_media_records, head_bytes=HEADER_SIZE, share=30),
    "record": Target(run=_record, seeds=_record_seeds, head_bytes=HEADER_SIZE, share=250),
    "manifest": Target(run=_manifest, seeds=_manifest_seeds, head_bytes=HEADER_SIZE, share=20),
    "init": Target(run=_init, seeds=_init_seeds, has_boxes=True, share=80),
    "push": Target(run=_push, seeds=_push_seeds, has_boxes=True, share=120),
    "text": Target(run=_text, seeds=_text_seeds, has_boxes=True, share=60),
    "nal": Target(run=_nal, seeds=lambda: [b"\0\0\0\1\x09\x10\0\0\1\x65\x07" * 3, b"\0\0\0\2\x65\x07"], share=10),
    "cmcd": Target(run=_cmcd, seeds=lambda: CMCD_SEEDS, share=70, errors=()),
    "request": Target(run=_request, seeds=lambda: REQUEST_SEEDS, share=30, errors=(BadRequestError,)),
}
