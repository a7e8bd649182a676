"""Sessions and what they do, per channel and second."""

from packager.origin.cmcd import Report
from packager.origin.demand import Audience, Kind, Visit
from schemas.records import ChannelDemand


def audience(sessions_max: int = 100) -> Audience:
    return Audience(session_timeout_ms=10_000, sessions_max=sessions_max)


def visit(client: str = "ip ua", channel: str = "c1", **more: object) -> Visit:
    return Visit(client=client, channel=channel, **more)  # type: ignore[arg-type]


def test_a_player_with_a_session_is_one_session_whatever_its_address() -> None:
    crowd = audience()
    crowd.visit(visit("a", report=Report(session="s")), now_ms=0)
    crowd.visit(visit("b", report=Report(session="s")), now_ms=10)
    assert crowd.close(1_000)["c1"] == ChannelDemand(channel="c1", whole_sessions=1, joins=1, requests=2, whole_requests=2)


def test_without_cmcd_address_and_agent_are_the_session() -> None:
    crowd = audience()
    for client in ("a", "b", "a"):
        crowd.visit(visit(client), now_ms=0)
    assert crowd.close(1_000)["c1"].whole_sessions == 2


def test_a_session_ends_after_silence_and_zero_is_told_once() -> None:
    crowd = audience()
    crowd.visit(visit(), now_ms=0)
    assert crowd.close(10_000)["c1"].whole_sessions == 1
    assert crowd.close(10_001) == {"c1": ChannelDemand(channel="c1")}
    assert crowd.close(11_000) == {}


def test_parts_and_whole_segments_are_told_apart() -> None:
    crowd = audience()
    crowd.visit(visit("a", kind=Kind.PARTS), now_ms=0)
    crowd.visit(visit("a", kind=Kind.WHOLE, video="v0"), now_ms=5)  # a low-latency player fills its buffer with whole segments
    crowd.visit(visit("b", kind=Kind.WHOLE), now_ms=0)
    told = crowd.close(1_000)["c1"]
    assert (told.part_sessions, told.whole_sessions) == (1, 1)


def test_another_video_track_is_a_switch() -> None:
    crowd = audience()
    for track in ("v0", "v0", "v2", None, "v1"):
        crowd.visit(visit(video=track), now_ms=0)
    assert crowd.close(1_000)["c1"].switches == 2


def test_a_stall_told_as_state_and_by_the_next_request_is_one() -> None:
    crowd = audience()
    crowd.visit(visit(report=Report(session="s", state="p")), now_ms=0)
    crowd.event("ip ua", Report(session="s", event="ps", state="r"), now_ms=8_000)
    crowd.event("ip ua", Report(session="s", event="ps", state="p"), now_ms=8_900)
    crowd.visit(visit(report=Report(session="s", is_starved=True, state="p")), now_ms=9_000)
    assert crowd.close(9_500)["c1"].stalls == 1


def test_a_starved_start_is_no_stall() -> None:
    crowd = audience()
    for now_ms in (0, 600):
        crowd.visit(visit(report=Report(session="s", kind="v", is_starved=True, is_urgent=True)), now_ms=now_ms)
    assert crowd.close(1_000)["c1"].stalls == 0


def test_a_player_that_tells_no_stalls_is_believed_when_it_becomes_urgent() -> None:
    crowd = audience()
    for now_ms, urgent in ((0, True), (3_000, False), (9_000, True)):
        crowd.visit(visit(report=Report(session="s", kind="v", is_urgent=urgent)), now_ms=now_ms)
    assert crowd.close(9_500)["c1"].stalls == 1


def test_a_seek_is_counted_when_the_state_changes() -> None:
    crowd = audience()
    crowd.visit(visit(report=Report(session="s", state="p")), now_ms=0)
    for state in ("k", "k", "p", "k"):
        crowd.event("ip ua", Report(session="s", event="ps", state=state), now_ms=10)
    assert crowd.close(1_000)["c1"].seeks == 2


def test_events_without_a_session_belong_to_the_clients_last_one() -> None:
    crowd = audience()
    crowd.visit(visit(report=Report(session="s", state="p")), now_ms=0)
    assert crowd.event("ip ua", Report(event="ps", state="k"), now_ms=10) == "c1"
    told = crowd.close(1_000)["c1"]
    assert (told.whole_sessions, told.seeks) == (1, 1)


def test_a_session_has_one_name_besides_its_own_however_many_it_calls_itself() -> None:
    crowd = audience()
    for number in range(300):
        crowd.visit(visit(f"ip {number}", report=Report(session="s")), now_ms=number)
    known = [crowd.event(f"ip {number}", Report(event="t"), now_ms=400) for number in range(300)]
    assert known == [None] * 299 + ["c1"]
    assert crowd.event("elsewhere", Report(session="s", event="t"), now_ms=400) == "c1"


def test_events_of_strangers_count_nowhere() -> None:
    crowd = audience()
    assert crowd.event("ip ua", Report(session="x", event="t"), now_ms=0) is None
    assert crowd.close(1_000) == {}


def test_buffer_and_throughput_are_quantiles_over_sessions() -> None:
    crowd = audience()
    for i in range(11):
        crowd.visit(visit(str(i), report=Report(buffer_ms=1_000 * i, throughput_kbps=100 * i)), now_ms=0)
    told = crowd.close(1_000)["c1"]
    assert (told.buffer_ms_p10, told.throughput_kbps_p50) == (1_000, 500)


def test_beyond_the_limit_sessions_are_not_told_apart() -> None:
    crowd = audience(sessions_max=2)
    for client in "abcd":
        crowd.visit(visit(client), now_ms=0)
    told = crowd.close(1_000)["c1"]
    assert (told.whole_sessions, told.requests) == (2, 4)


def test_a_first_request_is_told() -> None:
    crowd = audience()
    crowd.first_request("c2", low_latency=False)
    assert crowd.close(1_000)["c2"].first_request
    assert not crowd.close(2_000)["c2"].first_request


def test_rebuffering_before_it_ever_played_is_no_stall() -> None:
    crowd = audience()
    for now_ms, state in ((0, "s"), (400, "r"), (900, "p"), (950, "r"), (990, "p")):
        crowd.visit(visit(report=Report(session="s", state=state)), now_ms=now_ms)
    assert crowd.close(1_000)["c1"].stalls == 0


def test_requests_of_those_who_take_parts_are_not_among_those_of_whole_segments() -> None:
    crowd = audience()
    crowd.visit(visit("a", kind=Kind.WHOLE), now_ms=0)
    for _ in range(3):
        crowd.visit(visit("b", kind=Kind.PARTS), now_ms=0)
    told = crowd.close(1_000)["c1"]
    assert (told.requests, told.whole_requests) == (4, 1)
