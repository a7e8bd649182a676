"""The rules in a line each, forty of media and two of what accompanies it: what is looked at, and what no client can see."""

from typing import NamedTuple


class Rule(NamedTuple):
    """A rule: its number, what it asks for, and what of it cannot be checked from outside (empty: all of it is)."""

    number: int
    title: str
    unseen: str = ""


RULES = (
    Rule(1, "EXT-X-TARGETDURATION: a whole number >= 1, the same in every reload and rendition"),
    Rule(2, "EXTINF rounds to no more than the target and is the media's duration within 1 ms"),
    Rule(3, "Reloads only append, remove at the head, end; a number keeps its URI, duration, bytes"),
    Rule(4, "A live playlist never shrinks under 3 targets and has no EXT-X-PLAYLIST-TYPE"),
    Rule(5, "A new segment at most 1.5 targets after the last; a new period may come later: its input was late"),
    Rule(6, "What was removed stays fetchable for its time", "asked once, when it is removed: later deletion shows only in a longer watch"),
    Rule(7, "What is listed is answered at once, whole, with 200"),
    Rule(8, "EXT-X-PART-INF and PART-HOLD-BACK where parts are; all of SERVER-CONTROL constant and equal everywhere"),
    Rule(9, "PART-HOLD-BACK >= 3 parts, HOLD-BACK >= 3 targets, CAN-SKIP-UNTIL >= 6 targets"),
    Rule(10, "Parts no longer than PART-TARGET and, with the known exceptions, no shorter than 85 % of it"),
    Rule(11, "Parts joined are exactly the segment: bytes, sum of durations, duration of each"),
    Rule(12, "INDEPENDENT exactly on parts with a sync sample; segments and their first parts start with one"),
    Rule(13, "A new part within one PART-TARGET of the one before"),
    Rule(
        14,
        "One EXT-X-PRELOAD-HINT per type while live, for what comes next; its request waits, then comes whole",
        "whether a MAP hint was due",
    ),
    Rule(15, "EXT-X-RENDITION-REPORT of all others, true; renditions in step within a part"),
    Rule(16, "Blocking reload: what is refused with 400, what waits, what has come when it is answered"),
    Rule(17, "Delta updates: one EXT-X-SKIP, nothing newer than the boundary, merged they are the full playlist"),
    Rule(18, "EXT-X-PART within about 3 targets of the end"),
    Rule(19, "PROGRAM-DATE-TIME everywhere, continuous within 1 ms, the same for the same media time"),
    Rule(20, "EXT-X-DISCONTINUITY only where something changes; its numbers equal in all renditions"),
    Rule(21, "EXT-X-GAP is never taken back nor declared later; a 404 is not to be stored", "whether a gap had a good reason"),
    Rule(22, "The same segment boundaries in all renditions"),
    Rule(23, "Content-Type, Cache-Control, gzip, whole playlists; HTTP/2 for low latency over TLS", "without TLS, HTTP/2"),
    Rule(24, "Multivariant: BANDWIDTH >= measured peak, CODECS, RESOLUTION, FRAME-RATE of the samples, groups that exist"),
    Rule(25, "availabilityStartTime, Period@start, ids and order constant; UTCTiming; publishTime rises with content"),
    Rule(26, "SegmentTimeline without gaps or overlaps, S@t and S@d exactly those of the samples, no @duration beside it"),
    Rule(27, "MPD updates add at the end and drop at the head; an S is never edited, an expired one goes"),
    Rule(28, "Numbers and times stay matched; one addressing and the same boundaries within a set"),
    Rule(29, "With @duration: each edge within half a duration of nominal"),
    Rule(30, "maxSegmentDuration holds, timeShiftBufferDepth is covered, segments are there from their availability start"),
    Rule(
        31,
        "Low latency: availabilityTimeOffset constant, ServiceDescription, ProducerReferenceTime, first bytes in time",
    ),
    Rule(32, "The S@d of an unfinished segment is its final duration, unless a new period or the end cuts it"),
    Rule(33, "emsg not before its segment; EXT-X-DATERANGE has an ID and a time", "whether a SCTE-35 time is the event's"),
    Rule(34, "One track, pairs of moof and mdat, default-base-is-moof, sizes that fit, CMAF brands"),
    Rule(35, "tfdt of 64 bits that is the sum of what came before; mfhd rises"),
    Rule(36, "Sync flags agree with the NAL units", "fragments are not decoded"),
    Rule(37, "A switching set is cut at the same instants, audio less than a frame away"),
    Rule(38, "senc, saiz and saio agree; no initialisation vector twice", "without the key, decryption"),
    Rule(
        39,
        "One name, one content; no object under two numbers; init segments constant",
        "which packager made an object, and refused publications",
    ),
    Rule(40, "No stall, jump or error in players during handovers", "all of it: it is about players; see tests/players"),
    Rule(
        41,
        "Thumbnails: JPEGs of the size that is announced, one for each segment of its number and time",
        "whether the picture is the segment's",
    ),
    Rule(42, "Captions in HLS: WebVTT that says where it lies, each cue within its segment", "whether a cue is missing"),
)
NOT_CHECKED = frozenset({40})
