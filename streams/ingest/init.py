"""What an init segment says of its track: timescale, track number, codec, shape (pure)."""

import struct
from collections.abc import Iterator

from schemas.errors import RejectedError
from schemas.records import TEXT_CODEC, TrackKind
from schemas.units import Timescale
from streams.ingest.boxes import Box, boxes

SAMPLE_ENTRY_HEADER = {b"vide": 78, b"soun": 28, b"text": 8}
# Text is told by its codec (`Track.is_text`).
KINDS = {b"vide": TrackKind.VIDEO, b"soun": TrackKind.AUDIO, b"text": TrackKind.AUDIO}
CONTAINERS = (b"moov", b"trak", b"mdia", b"minf", b"stbl")
LENGTH_SIZE = 4
DEPTH_MAX = 16


class InitSegment:
    """
    An init segment with one track, read.

    Attributes:
        track_id: Number of the track.
        kind: Picture or sound; sound for text, too.
        timescale: Ticks per second.
        codec: RFC 6381 codec string.
        language: As ISO 639-2; ``und`` where it is not said.
        bandwidth_bps: Peak bit rate that it declares; 0 when it does not.
        width: Pixels; 0 for sound.
        height: Pixels; 0 for sound.
        sample_rate_hz: Sampling rate; 0 for picture.
        audio_channels: Channels; 0 for picture.
    """

    def __init__(self, data: bytes) -> None:
        """
        Raises:
            RejectedError: The bytes are no ``ftyp`` and ``moov`` with exactly one track of a codec that we know.
        """
        try:
            self._read(data)
        except (struct.error, IndexError, KeyError, ValueError) as error:
            raise RejectedError(f"not an init segment (ftyp and moov with one track): {error}") from error

    def _read(self, data: bytes) -> None:
        top = [box.kind for box in boxes(data)]
        if b"ftyp" not in top or b"moov" not in top:
            raise ValueError(f"found {[kind.decode('latin1') for kind in top]}")
        walked = list(_walk(data))
        found = {box.kind: box.body for box in walked}
        if sum(box.kind == b"trak" for box in walked) != 1:
            raise ValueError("it must hold one track")
        tkhd, mdhd, hdlr = found[b"tkhd"], found[b"mdhd"], found[b"hdlr"]
        handler = hdlr[8:12]
        if handler not in KINDS:
            raise RejectedError(f"a track of kind {handler.decode('latin1')!r} is neither picture nor sound nor WebVTT")
        self.kind = KINDS[handler]
        self.track_id: int = struct.unpack_from(">I", tkhd, 20 if tkhd[0] else 12)[0]
        self.timescale = Timescale(struct.unpack_from(">I", mdhd, 20 if mdhd[0] else 12)[0])
        if self.timescale < 1:
            raise ValueError("its timescale is 0")
        packed = struct.unpack_from(">H", mdhd, 32 if mdhd[0] else 20)[0]
        self.language = "".join(chr(0x60 + (packed >> shift & 31)) for shift in (10, 5, 0)) if packed & 0x7FFF else "und"
        entry = next(boxes(found[b"stsd"][8:]), None)
        if entry is None:
            raise ValueError("its stsd is empty")
        children = {box.kind: box.body for box in boxes(entry.body[SAMPLE_ENTRY_HEADER[handler] :])}
        self.codec = _codec(entry.kind.decode("latin1"), children)
        self.bandwidth_bps: int = struct.unpack_from(">I", children[b"btrt"], 4)[0] if b"btrt" in children else 0
        is_video = self.kind is TrackKind.VIDEO
        self.width, self.height = struct.unpack_from(">HH", entry.body, 24) if is_video else (0, 0)
        is_audio = not (is_video or self.is_text)
        self.audio_channels = struct.unpack_from(">H", entry.body, 16)[0] if is_audio else 0
        self.sample_rate_hz = struct.unpack_from(">H", entry.body, 24)[0] or int(self.timescale) if is_audio else 0

    @property
    def is_text(self) -> bool:
        """Whether samples are WebVTT cues."""
        return self.codec == TEXT_CODEC

    @property
    def is_avc(self) -> bool:
        """Whether samples are H.264."""
        return self.codec.startswith("avc")

    @property
    def is_hevc(self) -> bool:
        """Whether samples are HEVC."""
        return self.codec.startswith(("hvc", "hev"))


def _walk(data: bytes, depth: int = 0) -> Iterator[Box]:
    if depth > DEPTH_MAX:
        raise ValueError(f"boxes within boxes, more than {DEPTH_MAX} deep")
    for box in boxes(data):
        yield box
        if box.kind in CONTAINERS:
            yield from _walk(box.body, depth + 1)


def _codec(entry: str, children: dict[bytes, bytes]) -> str:
    """RFC 6381 codec string of a sample entry."""
    if entry in ("encv", "enca"):
        raise RejectedError("the track is encrypted: push it clear")
    if entry in ("avc1", "avc3"):
        _check_lengths(children[b"avcC"][4])
        return f"{entry}.{children[b'avcC'][1:4].hex()}"
    if entry in ("hvc1", "hev1"):
        _check_lengths(children[b"hvcC"][21])
        return f"{entry}.{_hevc(children[b'hvcC'])}"
    if entry == "mp4a":
        return f"mp4a.{_mpeg4_audio(children[b'esds'])}"
    if entry == "av01":
        return f"av01.{_av1(children[b'av1C'])}"
    plain = {TEXT_CODEC: TEXT_CODEC, "Opus": "opus", "fLaC": "flac", "ac-3": "ac-3", "ec-3": "ec-3"}
    if entry in plain:
        return plain[entry]
    raise RejectedError(f"codec {entry!r} of the init segment is not known: use H.264, HEVC, AV1, AAC, Opus, FLAC, AC-3, E-AC-3 or WebVTT")


def _check_lengths(byte: int) -> None:
    if (byte & 3) + 1 != LENGTH_SIZE:
        raise RejectedError(f"its NAL units have lengths of {(byte & 3) + 1} bytes: write {LENGTH_SIZE}")


def _av1(config: bytes) -> str:
    # AV1 Codec ISO Media File Format Binding, section 5: profile, level and tier, bit depth.
    profile, level = config[1] >> 5, config[1] & 0x1F
    tier, high, twelve = config[2] >> 7, config[2] >> 6 & 1, config[2] >> 5 & 1
    depth = (12 if twelve else 10) if high else 8
    return f"{profile}.{level:02d}{'H' if tier else 'M'}.{depth:02d}"


def _hevc(config: bytes) -> str:
    # ISO/IEC 14496-15 annex E.3: profile space and number, compatibility bit-reversed in hex, tier and level, constraint bytes.
    space, tier, profile = config[1] >> 6, config[1] >> 5 & 1, config[1] & 0x1F
    compatibility = int(f"{struct.unpack_from('>I', config, 2)[0]:032b}"[::-1], 2)
    constraints = "".join(f".{byte:X}" for byte in config[6:12].rstrip(b"\x00"))
    return f"{['', 'A', 'B', 'C'][space]}{profile}.{compatibility:X}.{'H' if tier else 'L'}{config[12]}{constraints}"


def _mpeg4_audio(esds: bytes) -> str:
    """Object type, and for MPEG-4 audio the audio object type, from the descriptors of an ``esds`` box."""
    at = 4
    while at < len(esds):
        tag, at = esds[at], at + 1
        size = 0
        while True:
            byte, at = esds[at], at + 1
            size = size << 7 | byte & 0x7F
            if not byte & 0x80:
                break
        if tag == 3:  # ES_Descriptor: id and flags, then its children (we write none of its optional fields)
            at += 3
        elif tag == 4:  # DecoderConfigDescriptor
            object_type, at = esds[at], at + 13
            if object_type != 0x40:
                return f"{object_type:x}"
        elif tag == 5:  # DecoderSpecificInfo: five bits of audio object type, escaped by 31
            kind = esds[at] >> 3
            return f"40.{kind if kind < 31 else 32 + ((esds[at] & 7) << 3 | esds[at + 1] >> 5)}"
        else:
            at += size
    raise ValueError("esds without a decoder configuration")
