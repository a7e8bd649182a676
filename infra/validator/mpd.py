"""DASH manifests as XML says them (ISO/IEC 23009-1), without judging."""

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from fractions import Fraction
from urllib.parse import urljoin

from infra.validator.playlist import unix_ms

NAMESPACE = "{urn:mpeg:dash:schema:mpd:2011}"
DURATION = re.compile(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?")
TEMPLATE = re.compile(r"\$(RepresentationID|Number|Time|Bandwidth)?(?:%0(\d+)d)?\$")
REPEATS_MAX = 100_000
TILES = {"http://dashif.org/guidelines/thumbnail_tile", "http://dashif.org/thumbnail_tile"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One segment of a timeline, in ticks, with its number and URL."""

    time: int
    duration: int
    number: int
    url: str


@dataclass(kw_only=True, slots=True)
class Representation:
    """
    One representation with the addressing that holds for it.

    Attributes:
        key: (period, adaptation set, representation) ids.
        attributes: Its own.
        timescale: Ticks per second.
        offset: presentationTimeOffset.
        init_url: Its init segment.
        uses_number: Whether ``$Number$`` addresses.
        duration: SegmentTemplate@duration, if it is there.
        start_number: startNumber.
        has_timeline: Whether there is a SegmentTimeline.
        availability_offset_s: availabilityTimeOffset; None without.
        is_complete: availabilityTimeComplete.
        entries: The timeline, written out.
        producer_times: Ids of its ProducerReferenceTimes and those of its set.
        has_resync: Whether it or its set has Resync.
    """

    key: tuple[str, str, str]
    attributes: dict[str, str]
    timescale: int
    offset: int
    init_url: str | None
    uses_number: bool
    duration: int | None
    start_number: int
    has_timeline: bool
    availability_offset_s: float | None
    is_complete: bool
    entries: list[Entry]
    producer_times: list[str]
    has_resync: bool

    @property
    def name(self) -> str:
        """Its key, to be read."""
        return "/".join(self.key)


@dataclass(kw_only=True, slots=True)
class AdaptationSet:
    """A set: attributes and members."""

    attributes: dict[str, str]
    representations: list[Representation]


@dataclass(kw_only=True, slots=True)
class Period:
    """A period; ``start_s`` is None if it says none; ``pictures`` are of sets of thumbnails, whose attribute ``tiles`` is their layout."""

    id: str
    start_s: Fraction | None
    duration_s: Fraction | None
    sets: list[AdaptationSet]
    pictures: list[Representation] = field(default_factory=list)

    @property
    def representations(self) -> list[Representation]:
        """Of all its sets."""
        return [r for s in self.sets for r in s.representations]


@dataclass(kw_only=True, slots=True)
class Mpd:
    """An MPD. ``attributes`` are those of the root; ``timings`` (scheme, URL or value) of every UTCTiming."""

    url: str
    attributes: dict[str, str]
    periods: list[Period] = field(default_factory=list)
    timings: list[tuple[str, str]] = field(default_factory=list)
    latency_targets_ms: list[str] = field(default_factory=list)
    services: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def is_dynamic(self) -> bool:
        """Whether it is live."""
        return self.attributes.get("type") == "dynamic"

    @property
    def is_ended(self) -> bool:
        """Whether no update is to come."""
        return not self.is_dynamic or "minimumUpdatePeriod" not in self.attributes

    @property
    def is_low_latency(self) -> bool:
        """Whether segments may be asked for before they are whole."""
        return any(r.availability_offset_s for p in self.periods for r in p.representations)

    @property
    def available_ms(self) -> float | None:
        """AvailabilityStartTime."""
        return unix_ms(self.attributes.get("availabilityStartTime", ""))

    @property
    def published_ms(self) -> float | None:
        """PublishTime."""
        return unix_ms(self.attributes.get("publishTime", ""))

    def seconds(self, name: str) -> float | None:
        """A duration among the root's attributes."""
        value = duration_s(self.attributes.get(name, ""))
        return None if value is None else float(value)


def duration_s(text: str) -> Fraction | None:
    """
    An XML Schema duration of days and less; None if it is none.

    >>> duration_s("PT1M4.5S"), duration_s("soon")
    (Fraction(129, 2), None)
    """
    match = DURATION.fullmatch(text)
    if match is None or text in {"P", "PT", ""}:
        return None
    days, hours, minutes, seconds = (Fraction(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def read_mpd(text: bytes, url: str) -> Mpd:
    """Take an MPD apart; what cannot be read is in ``problems``."""
    try:
        root = ET.fromstring(text)  # noqa: S314 - expat expands no external entities, and the origin is the user's own
    except (ET.ParseError, LookupError) as error:  # of an encoding that nobody knows
        return Mpd(url=url, attributes={}, problems=[f"not well-formed: {error}"])
    found = Mpd(url=url, attributes=dict(root.attrib))
    if root.tag != f"{NAMESPACE}MPD":
        found.problems.append(f"the root is {root.tag}")
    base = _base(root, url)
    for element in root.findall(f"{NAMESPACE}UTCTiming"):
        scheme, value = element.get("schemeIdUri", ""), element.get("value", "")
        found.timings.append((scheme, urljoin(url, value) if ":http-" in scheme else value))
    for element in root.findall(f"{NAMESPACE}ServiceDescription"):
        found.services += 1
        found.latency_targets_ms += [latency.get("target", "") for latency in element.findall(f"{NAMESPACE}Latency")]
    for number, element in enumerate(root.findall(f"{NAMESPACE}Period")):
        found.periods.append(_period(element, base, number, found.problems))
    return found


def _base(element: ET.Element, url: str) -> str:
    own = element.find(f"{NAMESPACE}BaseURL")
    return url if own is None or not own.text else urljoin(url, own.text.strip())


def _period(element: ET.Element, base: str, number: int, problems: list[str]) -> Period:
    base = _base(element, base)
    name = element.get("id", f"#{number}")
    sets: list[AdaptationSet] = []
    pictures: list[Representation] = []
    for index, one in enumerate(element.findall(f"{NAMESPACE}AdaptationSet")):
        set_id = one.get("id", f"#{index}")
        set_base = _base(one, base)
        members = []
        for r in one.findall(f"{NAMESPACE}Representation"):
            layers = [layer for layer in (element, one, r) if layer.find(f"{NAMESPACE}SegmentTemplate") is not None]
            templates = [layer.find(f"{NAMESPACE}SegmentTemplate") for layer in layers]
            key = (name, set_id, r.get("id", ""))
            members.append(_representation(r, one, [t for t in templates if t is not None], _base(r, set_base), key, problems))
            for layout in r.findall(f"{NAMESPACE}EssentialProperty"):
                if layout.get("schemeIdUri") in TILES:
                    members[-1].attributes["tiles"] = layout.get("value", "")
        if "image" in {one.get("contentType"), one.get("mimeType", "").partition("/")[0]}:
            pictures += members  # beside the media, of which the rules of media do not speak
        else:
            sets.append(AdaptationSet(attributes=dict(one.attrib), representations=members))
    start_s, length_s = duration_s(element.get("start", "")), duration_s(element.get("duration", ""))
    return Period(id=name, start_s=start_s, duration_s=length_s, sets=sets, pictures=pictures)


def _representation(
    element: ET.Element, parent: ET.Element, templates: list[ET.Element], base: str, key: tuple[str, str, str], problems: list[str]
) -> Representation:
    # ISO/IEC 23009-1 5.3.9.1: attributes of lower levels win.
    fields: dict[str, str] = {}
    timeline: ET.Element | None = None
    for template in templates:
        fields |= template.attrib
        own = template.find(f"{NAMESPACE}SegmentTimeline")
        timeline = own if own is not None else timeline
    if not templates:
        problems.append(f"{'/'.join(key)}: no SegmentTemplate, the only addressing that is read")

    def whole(name: str, default: int) -> int:
        text = fields.get(name, str(default))
        if text.isdigit():
            return int(text)
        problems.append(f"{'/'.join(key)}: {name}={text!r} is no number")
        return default

    bandwidth = element.get("bandwidth", "")
    media, init = fields.get("media", ""), fields.get("initialization")
    start_number = whole("startNumber", 1)
    entries: list[Entry] = []
    if timeline is not None:
        for time, length in _written_out(timeline, problems, "/".join(key)):
            number = start_number + len(entries)
            url = urljoin(base, _fill(media, key[2], bandwidth, number, time))
            entries.append(Entry(time=time, duration=length, number=number, url=url))
    offset_text = fields.get("availabilityTimeOffset")
    both = (element, parent)
    return Representation(
        key=key,
        attributes=dict(parent.attrib) | dict(element.attrib),
        timescale=whole("timescale", 1) or 1,
        offset=whole("presentationTimeOffset", 0),
        init_url=urljoin(base, _fill(init, key[2], bandwidth, 0, 0)) if init else None,
        uses_number="$Number" in media,
        duration=whole("duration", 0) if "duration" in fields else None,
        start_number=start_number,
        has_timeline=timeline is not None,
        availability_offset_s=_decimal(offset_text),
        is_complete=fields.get("availabilityTimeComplete", "true") != "false",
        entries=entries,
        producer_times=[p.get("id", "") for e in both for p in e.findall(f"{NAMESPACE}ProducerReferenceTime")],
        has_resync=any(e.find(f"{NAMESPACE}Resync") is not None for e in both),
    )


def _decimal(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return float(text)
    except ValueError:
        return None


def _written_out(timeline: ET.Element, problems: list[str], name: str) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for s in timeline.findall(f"{NAMESPACE}S"):
        try:
            length, repeat = int(s.get("d", "")), int(s.get("r", "0"))
            time = int(s.get("t", "")) if "t" in s.attrib else sum(found[-1]) if found else 0
        except ValueError:
            problems.append(f"{name}: S with {s.attrib} is none")
            continue
        if not 0 <= repeat <= REPEATS_MAX:
            problems.append(f"{name}: S@r={repeat}, which announces what does not exist")
            repeat = 0
        found += [(time + i * length, length) for i in range(repeat + 1)]
    return found


def _fill(template: str, representation: str, bandwidth: str, number: int, time: int) -> str:
    values = {"RepresentationID": representation, "Bandwidth": bandwidth, "Number": number, "Time": time}

    def value(match: re.Match[str]) -> str:
        name, width = match.groups()
        return "$" if name is None else f"{values[name]:0{int(width)}d}" if width else str(values[name])

    return TEMPLATE.sub(value, template)
