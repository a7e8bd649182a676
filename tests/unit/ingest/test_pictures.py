"""Which thumbnails a channel gets."""

from dataclasses import replace

from schemas.records import Thumbnails
from schemas.settings import MediaSettings
from streams.ingest.pictures import thumbnails_of
from tests.builders import make_track

WANTED = MediaSettings(thumbnails=True)


def test_they_are_taken_of_the_smallest_video_in_its_shape() -> None:
    large, small = replace(make_track("v0"), width=1280, height=720), replace(make_track("v1"), width=854, height=480)
    assert thumbnails_of([large, small, make_track("a0")], WANTED) == Thumbnails(track="thumb0", source="v1", width=160, height=90)


def test_they_are_no_larger_than_their_source() -> None:
    tiny = replace(make_track("v0"), width=48, height=32)
    assert thumbnails_of([tiny], WANTED) == Thumbnails(track="thumb0", source="v0", width=48, height=32)


def test_there_are_none_unless_wanted_and_none_of_sound() -> None:
    assert thumbnails_of([make_track("v0")], MediaSettings()) is None
    assert thumbnails_of([make_track("a0")], WANTED) is None
