"""CMCD as the three players send it."""

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packager.origin import cmcd

# As received from hls.js 1.7.4, dash.js 5.2.1 and Shaka Player 5.2.12.
DIALECTS = {
    'bl=13200,br=1010,cid="c1",d=2000,dl=13200,mtp=5400,nor="..%2F0%2Fv0%2F1.m4s",ot=v,rtp=4000,sf=h,sid="a",st=l,tb=2000': (
        13_200,
        1_010,
        1,
    ),
    'bl=(13200),br=(1010),cid="c1",mtp=(5400),ot=v,pb=(1010),sid="a",sta=p,tpb=(6201.402),v=2': (13_200, 1_010, 2),
    'bl=(4300;v),br=(900;v),bsd=(9218;v),ltc=12000,ot=v,sid="a",sta=p,v=2': (4_300, 900, 2),
    'bl=(9100;a 4300;v),br=(96;a 900;v),sid="a",v=2': (4_300, 900, 2),
    'br=(1010),bl=6800,ot=v,sid="a",v=2': (6_800, 1_010, 2),
}


@pytest.mark.parametrize("text", DIALECTS)
def test_every_players_numbers_are_read(text: str) -> None:
    report = cmcd.read(text)
    assert report is not None
    assert (report.buffer_ms, report.bitrate_kbps, report.version) == DIALECTS[text]
    assert report.session == "a"


@pytest.mark.parametrize("text", ["bs", "bs=?1", "bs=(?1;v)", 'sid="x",bs,v=2'])
def test_a_starved_buffer_is_read_in_every_form(text: str) -> None:
    report = cmcd.read(text)
    assert report is not None
    assert report.is_starved


def test_a_false_flag_is_false() -> None:
    report = cmcd.read("bs=?0,su")
    assert report is not None
    assert (report.is_starved, report.is_urgent) == (False, True)


def test_quotes_commas_and_escapes_stay_in_their_string() -> None:
    fields = cmcd.parse(r'cid="a,b=\"c\"",nor=("x;y" "z";r="0-99"),st=l')
    assert fields["cid"][0].value == 'a,b="c"'
    assert [item.value for item in fields["nor"]] == ["x;y", "z"]
    assert fields["nor"][1].params == (("r", "0-99"),)
    assert fields["st"][0].value == "l"


def test_the_four_headers_are_one_report() -> None:
    headers = {"cmcd-request": "bl=100,mtp=5", "cmcd-object": "br=7,ot=v", "cmcd-session": 'sid="s",cid="c"', "cmcd-status": "bs"}
    assert cmcd.read_request(None, headers) == cmcd.Report(
        session="s", content="c", kind="v", buffer_ms=100, throughput_kbps=5, bitrate_kbps=7, is_starved=True
    )


def test_a_request_without_cmcd_has_no_report() -> None:
    assert cmcd.read_request(None, {}) is None
    assert cmcd.read_request("", {}) is None


def test_posted_events_are_one_a_line() -> None:
    body = 'e=ps,sta=r,sid="a",ts=1,v=2\ne=t,sid="a",ts=2,v=2\r\n\n'
    assert [report.event for report in cmcd.read_events(body)] == ["ps", "t"]


def test_of_a_flood_of_lines_only_so_many_are_read() -> None:
    assert len(cmcd.read_events("e=t\n" * 5_000)) == 1_000


SNIPPETS = st.lists(st.sampled_from(['"', "\\", "(", ")", ";", ",", "=", "?", " ", "\t", "sid", "br", "v", "1", "-", ".", "\n", "é", "\0"]))


@settings(max_examples=300)
@given(st.text() | SNIPPETS.map("".join))
def test_no_string_breaks_the_reader(text: str) -> None:
    cmcd.read(text)
    cmcd.read_events(text)
    cmcd.read_request(text, {"cmcd-object": text})


@settings(max_examples=300)
@given(SNIPPETS.map("".join) | st.lists(st.sampled_from(sorted(DIALECTS))).map(",".join))
def test_the_quick_way_reads_what_the_thorough_one_does(text: str) -> None:
    assert cmcd._parse_plain(text) in (None, cmcd._parse_any(text))


@pytest.mark.parametrize("text", DIALECTS)
def test_what_players_write_is_read_the_quick_way(text: str) -> None:
    assert cmcd._parse_plain(text) is not None


def test_ten_thousand_reports_with_something_wrong_in_them_are_read_in_time() -> None:
    rng, letters = random.Random(1), '",;=()?\\ 09az\t\0é'
    began = time.process_time()
    for _ in range(10_000):
        text = list(rng.choice(sorted(DIALECTS)))
        for _ in range(rng.randint(1, 6)):
            place = rng.randrange(len(text))
            text[place : place + rng.randint(0, 3)] = rng.choices(letters, k=rng.randint(0, 2)) or ["x"]
        cmcd.read("".join(text))
    assert time.process_time() - began < 5.0


@pytest.mark.parametrize("piece", ["(", '"', "a=(", ";", "a=(1;b=", '\\"', 'a="\\', ",", "=", "((((;"])
def test_time_is_linear_in_the_text(piece: str) -> None:
    began = time.process_time()
    for _ in range(5):
        cmcd.read(piece * 100_000)
    assert time.process_time() - began < 1.0
