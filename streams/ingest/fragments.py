"""From the bytes of a fragmented MP4 stream, as they come, to init segments and samples (pure)."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from schemas.errors import RejectedError
from schemas.units import Ticks
from streams.ingest.boxes import Box, child, full_box, split_tracks
from streams.ingest.samples import Sample

# A box that claims more is no fragment of live media: half a minute at 60 Mb/s.
BOX_SIZE_MAX = 256 * 2**20
HEADER_SIZE_MAX = 16
# What describes media is small beside it: four such moofs hold all samples that a fragment may have.
DESCRIPTION_SIZE_MAX = 4 * 2**20
DESCRIPTIONS = (b"ftyp", b"moov", b"moof")
# Samples of a fragment, which may cost no bytes at all: more than two minutes of sound in frames of 128 samples at 48 kHz.
SAMPLES_MAX = 2**16
# ISO/IEC 14496-12 8.8.7.1 and 8.8.8.1: which optional fields a tfhd and a trun hold.
TFHD_BASE_OFFSET, TFHD_ENTRY, TFHD_DURATION, TFHD_SIZE, TFHD_FLAGS = 0x1, 0x2, 0x8, 0x10, 0x20
TRUN_OFFSET, TRUN_FIRST_FLAGS, TRUN_DURATION, TRUN_SIZE, TRUN_FLAGS, TRUN_COMPOSITION = 0x1, 0x4, 0x100, 0x200, 0x400, 0x800
IS_NON_SYNC = 0x10000


@dataclass(frozen=True, kw_only=True, slots=True)
class Init:
    """
    An init segment came.

    Attributes:
        tracks: ``ftyp`` and ``moov`` of each of its tracks alone, by track number.
    """

    tracks: dict[int, bytes]


@dataclass(frozen=True, kw_only=True, slots=True)
class Samples:
    """
    One fragment's samples of one track.

    Attributes:
        number: Track number of the init segment.
        samples: Samples, in decode order.
        durations: Ticks of each.
    """

    number: int
    samples: tuple[Sample, ...]
    durations: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class End:
    """The stream says that it is over (``mfra``)."""


Piece = Init | Samples | End


@dataclass(frozen=True, kw_only=True, slots=True)
class _Defaults:
    """What a ``trex`` says of samples whose fragments do not."""

    duration: int = 0
    size: int = 0
    flags: int = 0


class FragmentReader:
    """
    Reads one fragmented MP4 stream; boxes that carry no samples (``styp``, ``sidx``, ``prft``, ``emsg``, ``free``) are left out.

    >>> list(FragmentReader().feed(b"not an MP4 stream"))
    Traceback (most recent call last):
    ...
    schemas.errors.RejectedError: not a fragmented MP4 stream: a box 'an M' of 1852797984 bytes
    """

    def __init__(self) -> None:
        self._held = bytearray()
        self._ftyp = b""
        self._moof: tuple[int, bytes] | None = None
        self._has_fragments = False
        self._defaults: dict[int, _Defaults] = {}

    def restart(self) -> None:
        """Another connection goes on with a new box: what is left of a broken one is of no use."""
        self._held.clear()
        self._moof = None

    def feed(self, data: bytes) -> Iterator[Piece]:
        """
        What these bytes complete.

        Raises:
            RejectedError: They are no fragmented MP4, or samples of it cannot be read.
        """
        self._held += data
        try:
            while (box := self._next()) is not None:
                yield from self._box(*box)
        except (struct.error, IndexError, KeyError, ValueError) as error:
            raise RejectedError(f"the MP4 stream cannot be read: {error}") from error

    def _next(self) -> tuple[bytes, bytes] | None:
        """The next whole box: its type and all its bytes."""
        if len(self._held) < 8:
            return None
        size, kind = struct.unpack_from(">I4s", self._held)
        if size == 1:
            if len(self._held) < HEADER_SIZE_MAX:
                return None
            size = struct.unpack_from(">Q", self._held, 8)[0]
        if not kind.isascii() or not 8 <= size <= BOX_SIZE_MAX:
            raise RejectedError(f"not a fragmented MP4 stream: a box {kind.decode('latin1')!r} of {size} bytes")
        if kind in DESCRIPTIONS and size > DESCRIPTION_SIZE_MAX:
            raise RejectedError(f"a box {kind.decode()!r} of {size} bytes: live media need at most {DESCRIPTION_SIZE_MAX}")
        if len(self._held) < size:
            return None
        whole = bytes(self._held[:size])
        del self._held[:size]
        return kind, whole

    def _box(self, kind: bytes, whole: bytes) -> Iterator[Piece]:
        if kind == b"ftyp":
            self._ftyp = whole
        elif kind == b"moov":
            yield self._init(whole)
        elif kind == b"moof":
            self._moof = len(whole), whole
        elif kind == b"mdat" and self._moof:
            (size, moof), self._moof = self._moof, None
            self._has_fragments = True
            yield from self._samples(moof, size, whole)
        elif kind == b"mdat" and not self._has_fragments:
            # All of a plain file would be passed over without a word: its moov has the samples, no fragment ever comes.
            raise ValueError("media without fragments, a plain MP4 file; FFmpeg makes fragments with -movflags +cmaf+frag_keyframe")
        elif kind == b"mfra":
            yield End()

    def _init(self, whole: bytes) -> Init:
        moov = Box.of(whole)
        self._defaults = {}
        for trex in (box for mvex in moov.all(b"mvex") for box in mvex.all(b"trex")):
            number, _, duration, size, flags = struct.unpack_from(">5I", trex.body, 4)
            self._defaults[number] = _Defaults(duration=duration, size=size, flags=flags)
        tracks = split_tracks(self._ftyp, moov)
        if not tracks:
            raise ValueError("its moov has no tracks")
        return Init(tracks=tracks)

    def _samples(self, moof: bytes, moof_size: int, mdat: bytes) -> Iterator[Samples]:
        if not self._defaults:
            raise ValueError("a fragment came before the init segment (ftyp and moov)")
        data = moof + mdat
        at = moof_size + (16 if struct.unpack_from(">I", mdat)[0] == 1 else 8)
        room = SAMPLES_MAX
        for traf in Box.of(moof).all(b"traf"):
            read = _Traf(traf, self._defaults)
            samples, durations, at = read.samples(data, at, room=room)
            room -= len(samples)
            if samples:
                yield Samples(number=read.number, samples=samples, durations=durations)


class _Traf:
    """One track's part of a fragment."""

    def __init__(self, traf: Box, defaults: dict[int, _Defaults]) -> None:
        self._traf = traf
        _, flags, tfhd = full_box(child(traf, b"tfhd"))
        self.number: int = struct.unpack_from(">I", tfhd)[0]
        if self.number not in defaults:
            raise ValueError(f"track {self.number} is not in the init segment")
        if any(traf.all(b"senc")):
            raise ValueError("its samples are encrypted; push clear media")
        if flags & TFHD_BASE_OFFSET:
            raise ValueError("its fragments have absolute offsets; CMAF has none (FFmpeg: -movflags +cmaf)")
        at = 8 if flags & TFHD_ENTRY else 4
        known = defaults[self.number]
        values = [known.duration, known.size, known.flags]
        for index, bit in enumerate((TFHD_DURATION, TFHD_SIZE, TFHD_FLAGS)):
            if flags & bit:
                values[index] = struct.unpack_from(">I", tfhd, at)[0]
                at += 4
        self._duration, self._size, self._flags = values
        version, _, tfdt = full_box(child(traf, b"tfdt"))
        # The priming of sound lies before time 0, and FFmpeg writes that as a negative number.
        self._time: int = struct.unpack_from(">q" if version else ">I", tfdt)[0]

    def samples(self, data: bytes, at: int, *, room: int) -> tuple[tuple[Sample, ...], tuple[int, ...], int]:
        """
        Samples, their durations, and where the data behind them begins.

        Raises:
            ValueError: They lie outside the data, or are more than there is room for.
        """
        samples: list[Sample] = []
        durations: list[int] = []
        for trun in self._traf.all(b"trun"):
            version, flags, body = full_box(trun)
            count, place = struct.unpack_from(">I", body)[0], 4
            if len(samples) + count > room:
                raise ValueError(f"a run of {count} samples: a fragment has at most {SAMPLES_MAX}")
            if flags & TRUN_OFFSET:
                # Relative to the moof: CMAF (ISO/IEC 23000-19 7.5.15) demands it, and all that we know write it.
                at, place = struct.unpack_from(">i", body, place)[0], place + 4
            first = self._flags
            if flags & TRUN_FIRST_FLAGS:
                first, place = struct.unpack_from(">I", body, place)[0], place + 4
            for number in range(count):
                duration, size, own, composition = self._duration, self._size, self._flags if number else first, 0
                if flags & TRUN_DURATION:
                    duration, place = struct.unpack_from(">I", body, place)[0], place + 4
                if flags & TRUN_SIZE:
                    size, place = struct.unpack_from(">I", body, place)[0], place + 4
                if flags & TRUN_FLAGS:
                    own, place = struct.unpack_from(">I", body, place)[0], place + 4
                if flags & TRUN_COMPOSITION:
                    composition, place = struct.unpack_from(">i" if version else ">I", body, place)[0], place + 4
                if at < 0 or at + size > len(data):
                    raise ValueError(f"a sample of {size} bytes at {at} lies outside its fragment of {len(data)}")
                samples.append(Sample(Ticks(self._time), data[at : at + size], not own & IS_NON_SYNC, composition))
                durations.append(duration)
                self._time += duration
                at += size
        return tuple(samples), tuple(durations), at
