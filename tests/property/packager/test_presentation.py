"""Presentations are functions of facts: however topics interleave, and never against what was shown before."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from packager.manifest import dash, hls
from packager.manifest.known import Reading
from packager.manifest.presentations import Presentations
from schemas.records import Level, Part, Parts, Period, Reports
from schemas.units import UnixMs
from tests import facts
from tests.invariants import assert_continues, read_playlist

LENGTHS = st.lists(st.sampled_from([1, 2, 4]), min_size=3, max_size=14)


def merge(data: st.DataObject, *topics: list[object]) -> list[object]:
    """The records of several topics, each in its order, interleaved in any way."""
    rest, merged = [list(reversed(topic)) for topic in topics if topic], []
    while rest:
        chosen = data.draw(st.sampled_from(rest))
        merged.append(chosen.pop())
        rest = [topic for topic in rest if topic]
    return merged


def story(lengths: list[int], cut: int) -> tuple[list[object], list[object], list[object]]:
    """Two periods of a channel that ends: what its three topics carry."""
    cut = min(cut, len(lengths) - 1)
    gops = sum(lengths[:cut])
    first = facts.period()
    second = facts.period(number=1, start_ms=gops * 1_000, first_msn=cut)
    channels: list[object] = [first]
    made = list(facts.run(first, lengths[:cut]))
    if cut < len(lengths):
        channels += [facts.period_end(first, gops=gops, next_msn=cut), second]
        made += list(facts.run(second, lengths[cut:]))
    last = second if cut < len(lengths) else first
    channels.append(facts.period_end(last, gops=sum(lengths[cut:]), next_msn=len(lengths), channel_ended=True))
    return channels, [r for r in made if isinstance(r, Parts)], [facts.start(), *(r for r in made if not isinstance(r, Parts))]


def texts(presentations: Presentations) -> dict[str, str] | None:
    held = presentations.get("c1")
    view = held.view() if held else None
    if view is None or not view.segments:
        return None
    tracks = [track.track for track in view.open_period.tracks]
    made = {f"{kind}/{track}": hls.media(view, track, low_latency=kind == "ll") for kind in ("ll", "hls") for track in tracks}
    return made | {"multivariant": hls.multivariant(view), "mpd": dash.manifest(view, time_url="../../time")}


def fold(records: list[object]) -> Presentations:
    presentations = Presentations()
    for record in records:
        presentations.apply(record)
    return presentations


@settings(max_examples=60, deadline=None)
@given(st.data(), LENGTHS, st.integers(1, 14))
def test_any_interleaving_of_the_topics_comes_to_the_same_playlists(data: st.DataObject, lengths: list[int], cut: int) -> None:
    topics = story(lengths, cut)
    expected = texts(fold([*topics[0], *topics[1], *topics[2]]))
    assert expected is not None
    assert texts(fold(merge(data, *topics))) == expected


@settings(max_examples=60, deadline=None)
@given(st.data(), LENGTHS, st.integers(1, 14))
def test_records_repeated_by_a_takeover_change_nothing(data: st.DataObject, lengths: list[int], cut: int) -> None:
    topics = story(lengths, cut)
    again = data.draw(st.integers(0, len(topics[1])))
    repeated = [*topics[1][:again], *topics[1][max(0, again - 6) :]]
    assert texts(fold([*topics[0], *repeated, *topics[2], *topics[2][1:]])) == texts(fold([*topics[0], *topics[1], *topics[2]]))


@settings(max_examples=40, deadline=None)
@given(st.data(), LENGTHS, st.integers(1, 14))
def test_a_reload_never_contradicts_what_was_listed(data: st.DataObject, lengths: list[int], cut: int) -> None:
    presentations, shown = Presentations(), []
    for record in merge(data, *story(lengths, cut)):
        presentations.apply(record)
        made = texts(presentations)
        if made is not None:
            shown.append(made)
    for before, after in pairwise(shown):
        for name in before.keys() & after.keys():
            if name.startswith(("ll/", "hls/")):
                assert_continues(before[name], after[name])
    assert read_playlist(shown[-1]["ll/v0"]).is_ended


@settings(max_examples=40, deadline=None)
@given(LENGTHS.filter(lambda lengths: sum(lengths) > 26), st.integers(0, 5))
def test_a_delta_update_merged_with_an_older_playlist_is_the_whole_one(lengths: list[int], more: int) -> None:
    period: Period = facts.period(time_shift_ms=60_000)
    records: list[object] = [period, facts.start(), *facts.run(period, lengths)]
    presentations = fold(records[: len(records) - more])
    older = read_playlist(texts(presentations)["ll/v0"])  # type: ignore[index]
    for record in records[len(records) - more :]:
        presentations.apply(record)
    view = presentations.channels["c1"].view()
    assert view is not None
    whole, delta = (hls.media(view, "v0", low_latency=True, skip=skip) for skip in (False, True))
    full = read_playlist(whole)
    skipped = int(delta.partition("#EXT-X-SKIP:SKIPPED-SEGMENTS=")[2].partition("\n")[0] or 0)
    assert skipped <= len(older.segments)
    head = older.segments[full.first - older.first :][:skipped]
    assert (*head, *read_playlist(delta.replace(f"#EXT-X-SKIP:SKIPPED-SEGMENTS={skipped}\n", "")).segments) == full.segments


@settings(max_examples=40, deadline=None)
@given(st.data(), LENGTHS, st.lists(st.integers(0, 9_000), min_size=3, max_size=3), st.integers(1, 40_000))
def test_whoever_begins_to_read_late_ends_as_the_others_do(data: st.DataObject, lengths: list[int], lags: list[int], begun_ms: int) -> None:
    # Each track is made by somebody else, and told some time after its chunks are durable.
    period = facts.period(time_shift_ms=60_000)
    lag_ms = {track.track: lag for track, lag in zip(period.tracks, lags, strict=True)}
    told: dict[type, list[tuple[int, Parts | Reports]]] = {Parts: [], Reports: []}
    for record in facts.run(period, lengths):
        for made in record.parts if isinstance(record, Parts) else record.segments:
            single = facts.announce(period, [made]) if isinstance(made, Part) else facts.tell(period, [made])
            told[type(single)].append((made.durable_unix_ms + lag_ms[made.track], single))
    since = UnixMs(facts.ZERO + begun_ms)
    parts, reports = (sorted(topic, key=lambda entry: entry[0]) for topic in told.values())
    early = fold([period, facts.start(level=Level.SEGMENTS), *(r for _, r in parts), *(r for _, r in reports)]).channels["c1"].view()
    late = Presentations(Reading(from_unix_ms=since, began_unix_ms=UnixMs(since + 60_000)))
    topics: list[list[object]] = [[r for at, r in topic if at >= since] for topic in (parts, reports)]
    for heard in merge(data, [period], topics[0], [facts.start(level=Level.SEGMENTS, cause=""), *topics[1]]):
        late.apply(heard)
    shown = late.channels["c1"].view()
    assert early is not None
    assert len(early.segments) == len(lengths)
    ends = [segment.end_ms for segment in early.segments]
    listed = shown.segments if shown else ()
    assert [s.msn for s in listed] == [s.msn for s in early.segments][len(lengths) - len(listed) :]
    # At most one segment that became durable later is left out: that in which reading begins.
    assert len(listed) >= sum(end > begun_ms for end in ends) - 1
