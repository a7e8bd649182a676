"""Defects of init segments, segments and parts: (rule, what is wrong, how good output is spoiled)."""

import struct
from collections.abc import Callable
from dataclasses import replace

from tests.unit.validator.edits import Edit, Exchanges, add, again, at, box, chain, data, each, make_box, poke, with_body
from tests.unit.validator.encrypted import encrypted

# Of the first track; audio, whose flags and boundaries say other things.
SEGMENT, PART, INIT, AUDIO = r"/v0/\d+\.m4s", r"/v0/\d+\.part\.m4s", r"/v0/init\.mp4", r"/a0/\d+\.m4s"
OTHER = r"/v1/\d+\.m4s"


def event(time: int) -> bytes:
    """An emsg of version 1 at a time in ms."""
    return make_box(b"emsg", struct.pack(">IIQII", 1 << 24, 1_000, time, 1_000, 7) + b"urn:scte:scte35:2013:bin\0" + b"\0")


def first_nal(value: int) -> Callable[[bytes], bytes]:
    """The first picture of a segment is of another NAL type."""

    def edit(body: bytes) -> bytes:
        at_ = body.index(b"mdat") + 4
        while body[at_ + 4] & 0x1F not in {1, 5}:
            at_ += 4 + int.from_bytes(body[at_ : at_ + 4])
        return body[: at_ + 4] + bytes([body[at_ + 4] & 0xE0 | value]) + body[at_ + 5 :]

    return edit


def flags_of_first(body: bytes) -> bytes:
    """The first sample says that it is no sync sample, wherever that is written."""
    place = box(body, b"trun")
    bits = struct.unpack_from(">I", body, place)[0] & 0xFFFFFF
    at_ = place + 8 + (4 if bits & 1 else 0)
    if not bits & 4:
        at_ += 4 * (bool(bits & 0x100) + bool(bits & 0x200))
    value = struct.unpack_from(">I", body, at_)[0] | 0x10000
    return body[:at_] + struct.pack(">I", value) + body[at_ + 4 :]


def last_byte(body: bytes) -> bytes:
    return body[:-1] + bytes([body[-1] ^ 1])


def without_last_mdat(body: bytes) -> bytes:
    place = body.rindex(b"mdat") - 4
    return body[:place]


def doubled_track(body: bytes) -> bytes:
    """An init segment with a second trak."""
    place = body.index(b"trak") - 4
    size = struct.unpack_from(">I", body, place)[0]
    moov = body.index(b"moov") - 4
    moov_size = struct.unpack_from(">I", body, moov)[0]
    grown = body[:moov] + struct.pack(">I", moov_size + size) + body[moov + 4 :]
    return grown[:place] + body[place : place + size] + grown[place:]


def named_twice(exchanges: Exchanges) -> Exchanges:
    """The plain playlist lists one object under the next number, too."""
    own = [e for e in exchanges if at(e, r"/hls/v0\.m3u8")]
    names = [line for line in own[len(own) // 2].body.decode().splitlines() if line.endswith(".m4s")]
    old, new = names[-1].encode(), names[-2].encode()
    return [with_body(e, e.body.replace(old, new)) if at(e, r"/hls/v0\.m3u8") else e for e in exchanges]


MEDIA_MUTATIONS: tuple[tuple[int, str, Edit], ...] = (
    (2, "segments are longer than EXTINF", data(SEGMENT, add(b"trun", 12, 500, form=">I"))),
    (3, "a segment has other bytes when it is asked for again", again(SEGMENT, lambda e: with_body(e, last_byte(e.body)))),
    (3, "a part has other bytes when it is asked for again", again(PART, lambda e: with_body(e, last_byte(e.body)))),
    (7, "bytes are missing that were announced", each(PART, lambda e: replace(e, body=e.body[:-9]))),
    (11, "segments are not their parts joined", data(SEGMENT, last_byte)),
    (12, "segments do not start with an IDR", data(SEGMENT, first_nal(1))),
    (12, "the first part does not start with an IDR", data(PART, first_nal(1))),
    (33, "an event before its segment", data(SEGMENT, lambda b: event(0) + b, share=0.5)),
    (34, "no brand of CMAF", data(INIT, lambda b: b.replace(b"cmfc", b"xxxx"))),
    (34, "two tracks in one init segment", data(INIT, doubled_track)),
    (34, "default-base-is-moof is not set", data(SEGMENT, poke(b"tfhd", 1, b"\0"))),
    (34, "sizes do not fill the mdat", data(SEGMENT, add(b"trun", 16, 1, form=">I"))),
    (34, "samples begin elsewhere", data(SEGMENT, add(b"trun", 8, 4, form=">I"))),
    (34, "a moof without its mdat", data(SEGMENT, without_last_mdat)),
    (34, "bytes that are no boxes", data(SEGMENT, lambda b: b"<html>nothing here</html>")),
    (34, "another track than in the init segment", data(SEGMENT, add(b"tfhd", 4, 1, form=">I"))),
    (35, "decode times leave a hole", data(OTHER, add(b"tfdt", 4, 40, which=1))),
    (35, "decode time begins anew", data(AUDIO, poke(b"tfdt", 4, bytes(8)), share=0.5)),
    (35, "decode time of 32 bits", data(SEGMENT, poke(b"tfdt", 0, b"\0"))),
    (35, "sequence numbers fall", data(SEGMENT, poke(b"mfhd", 4, bytes(4), which=1))),
    (36, "the first sample is not flagged sync", data(SEGMENT, flags_of_first)),
    (36, "a picture that is none is flagged sync", data(PART, first_nal(1))),
    (37, "video renditions are cut at other instants", data(OTHER, add(b"tfdt", 4, 25))),
    (37, "audio is cut a frame away", data(AUDIO, add(b"tfdt", 4, 1_100))),
    (
        38,
        "an initialisation vector twice",
        chain(encrypted(), data(SEGMENT, lambda b: b.replace(b[box(b, b"senc") + 8 :][:8], bytes(8), 1))),
    ),
    (38, "saiz and senc disagree", chain(encrypted(), data(SEGMENT, poke(b"saiz", 5, struct.pack(">I", 99))))),
    (38, "saio points elsewhere", chain(encrypted(), data(SEGMENT, add(b"saio", 8, 2, form=">I")))),
    (38, "no senc", chain(encrypted(), data(SEGMENT, lambda b: b.replace(b"senc", b"free")))),
    (39, "an init segment has other bytes when it is asked for again", again(INIT, lambda e: with_body(e, last_byte(e.body)))),
    (39, "an object under two numbers", named_twice),
)
