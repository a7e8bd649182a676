"""The validator finds nothing in good output of a real line, and each defect by the rule that it breaks."""

from collections.abc import Iterator
from copy import copy
from pathlib import Path

import pytest

from infra.validator import fragments, mpd, playlist
from infra.validator.checks import check
from infra.validator.evidence import Evidence
from infra.validator.findings import Finding, Limits
from infra.validator.init import Init
from infra.validator.mpd import Mpd
from infra.validator.playlist import Media
from infra.validator.recording import Exchange, load, save
from infra.validator.rules import NOT_CHECKED, RULES
from tests.unit.validator.edits import Edit
from tests.unit.validator.encrypted import encrypted
from tests.unit.validator.mutations_aside import ASIDE_MUTATIONS
from tests.unit.validator.mutations_dash import DASH_MUTATIONS
from tests.unit.validator.mutations_hls import HLS_MUTATIONS
from tests.unit.validator.mutations_media import MEDIA_MUTATIONS

GOOD = Path(__file__).with_name("good.xz")
# Of a channel with captions and thumbnails.
ASIDE = Path(__file__).with_name("aside.xz")
MUTATIONS = HLS_MUTATIONS + DASH_MUTATIONS + MEDIA_MUTATIONS


@pytest.fixture(scope="module", autouse=True)
def read_once() -> Iterator[None]:
    """A spoiled copy differs from the good one in little: what is equal is taken apart once."""
    manifests: dict[tuple[str, str], Media] = {}
    mpds: dict[tuple[bytes, str], Mpd] = {}
    objects: dict[tuple[bytes, bytes], fragments.Media] = {}
    read_playlist, read_mpd, read_object = playlist.read_media, mpd.read_mpd, fragments.read_media

    def media(text: str, url: str) -> Media:
        if (text, url) not in manifests:
            manifests[text, url] = read_playlist(text, url)
        return copy(manifests[text, url])  # delta updates are put together in place

    def dash(text: bytes, url: str) -> Mpd:
        if (text, url) not in mpds:
            mpds[text, url] = read_mpd(text, url)
        return mpds[text, url]

    def segment(data: bytes, init: Init | None) -> fragments.Media:
        key = (data, init.digest if init else b"")
        if key not in objects:
            objects[key] = read_object(data, init)
        return objects[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(playlist, "read_media", media)
        patch.setattr(mpd, "read_mpd", dash)
        patch.setattr(fragments, "read_media", segment)
        yield


@pytest.fixture(scope="module")
def good() -> list[Exchange]:
    return load(GOOD)


@pytest.fixture(scope="module")
def aside() -> list[Exchange]:
    return load(ASIDE)


def found(exchanges: list[Exchange]) -> list[Finding]:
    return check(Evidence(exchanges), Limits(jitter_ms=300))


def test_good_output_has_no_finding(good: list[Exchange]) -> None:
    assert found(good) == []


def test_good_encrypted_output_has_no_finding(good: list[Exchange]) -> None:
    assert found(encrypted()(good)) == []


@pytest.mark.parametrize(
    ("rule", "spoil"), [(rule, spoil) for rule, _, spoil in MUTATIONS], ids=[f"{r}: {what}" for r, what, _ in MUTATIONS]
)
def test_a_defect_is_found_by_the_rule_it_breaks(good: list[Exchange], rule: int, spoil: Edit) -> None:
    findings = found(spoil(good))
    assert rule in {finding.rule for finding in findings}, findings[:5]


def test_good_captions_and_thumbnails_have_no_finding(aside: list[Exchange]) -> None:
    assert found(aside) == []
    evidence = Evidence(aside)
    assert len(evidence.pictures) >= 10
    assert sum(len(text.cues) for text in evidence.texts.values()) >= 10
    assert all(look.content.periods[0].pictures for looks in evidence.mpds.values() for look in looks)


@pytest.mark.parametrize(
    ("rule", "spoil"), [(rule, spoil) for rule, _, spoil in ASIDE_MUTATIONS], ids=[f"{r}: {what}" for r, what, _ in ASIDE_MUTATIONS]
)
def test_a_defect_of_what_accompanies_media_is_found_by_the_rule_it_breaks(aside: list[Exchange], rule: int, spoil: Edit) -> None:
    findings = found(spoil(aside))
    assert rule in {finding.rule for finding in findings}, findings[:5]


def test_every_rule_that_can_be_checked_is_broken_by_some_defect() -> None:
    assert {rule.number for rule in RULES} - {rule for rule, _, _ in MUTATIONS + ASIDE_MUTATIONS} == NOT_CHECKED
    assert [rule.number for rule in RULES] == list(range(1, 43))


def test_good_output_is_of_a_channel_to_which_something_happened(good: list[Exchange]) -> None:
    evidence = Evidence(good)
    latency, plain = (
        next(looks for url, looks in evidence.playlists.items() if url.endswith(name)) for name in ("/ll/v0.m3u8", "/hls/v0.m3u8")
    )
    lengths = {segment.duration_s for segment in plain[-1].content.segments}
    assert len(lengths) > 2  # one of them was cut short
    assert plain[-1].content.open_discontinuity == 1
    assert plain[-1].content.first_msn > plain[0].content.first_msn
    assert sum(look.is_delta for look in latency) > 5
    assert {any(look.content.is_low_latency for look in looks) for looks in evidence.mpds.values()} == {True, False}
    assert len(evidence.media) > 200


def test_a_recording_is_kept_as_it_was(good: list[Exchange], tmp_path: Path) -> None:
    save(good, tmp_path / "again.xz")
    assert load(tmp_path / "again.xz") == good


def test_what_is_no_recording_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="is no recording"):
        load(tmp_path / "x")
