"""What a sweep deletes and, above all, what it leaves."""

import os
from pathlib import Path

import pytest

from infra.sweep import Ages, Swept, ages, sweep
from packager.store import TEMPORARY, DirectoryStore
from schemas.errors import UserError
from schemas.settings import KafkaSettings, MediaSettings, Settings, StoreSettings
from schemas.units import Ms, UnixMs

NOW = UnixMs(1_800_000_000_000)
MINUTE = 60_000
KEPT = Ages(behind_ms=Ms(3 * MINUTE), silent_ms=Ms(60 * MINUTE))


def put(store: Path, name: str, *, age_ms: int) -> None:
    DirectoryStore(StoreSettings(directory=store)).create_if_absent(name, [b"12345"])
    made_s = (NOW - age_ms) / 1_000
    os.utime(store / name, (made_s, made_s))


def names(store: Path) -> list[str]:
    return sorted(path.relative_to(store).as_posix() for path in store.rglob("*") if path.is_file())


def test_what_is_older_than_its_channel_s_newest_by_more_than_the_age_goes(tmp_path: Path) -> None:
    for minute in range(6):
        put(tmp_path, f"news/0/v0/{100 - minute}.m4s", age_ms=minute * MINUTE)
    assert sweep(tmp_path, KEPT, now_unix_ms=NOW) == Swept(objects=2, size=10, kept=4)
    assert names(tmp_path) == ["news/0/v0/100.m4s", "news/0/v0/97.m4s", "news/0/v0/98.m4s", "news/0/v0/99.m4s"]


def test_the_segments_of_a_channel_whose_encoder_pauses_stay_until_they_are_old_by_any_measure(tmp_path: Path) -> None:
    put(tmp_path, "news/0/v0/1.m4s", age_ms=20 * MINUTE)
    put(tmp_path, "news/0/a0/1.m4s", age_ms=21 * MINUTE)
    put(tmp_path, "chess/0/v0/9.m4s", age_ms=0)
    assert sweep(tmp_path, KEPT, now_unix_ms=NOW) == Swept(kept=3)
    assert sweep(tmp_path, KEPT, now_unix_ms=UnixMs(NOW + 40 * MINUTE)).objects == 1
    assert names(tmp_path) == ["chess/0/v0/9.m4s", "news/0/v0/1.m4s"]


def test_init_segments_stay(tmp_path: Path) -> None:
    put(tmp_path, "news/0/v0/init.mp4", age_ms=1_000 * MINUTE)
    assert sweep(tmp_path, KEPT, now_unix_ms=NOW) == Swept(kept=1)


def test_leftovers_of_killed_writers_go_and_files_that_are_being_written_stay(tmp_path: Path) -> None:
    for folder in ("", "news/0/v0/"):
        for name, age_ms in (("old", 4 * MINUTE), ("new", 1_000)):
            path = tmp_path / f"{folder}{TEMPORARY}{name}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"1")
            os.utime(path, ((NOW - age_ms) / 1_000,) * 2)
    assert sweep(tmp_path, KEPT, now_unix_ms=NOW) == Swept(leftovers=2)
    assert names(tmp_path) == [f"{TEMPORARY}new", f"news/0/v0/{TEMPORARY}new"]


def test_a_store_that_is_not_there_yet_is_swept(tmp_path: Path) -> None:
    assert sweep(tmp_path / "none", KEPT, now_unix_ms=NOW) == Swept()


def test_a_link_out_of_the_store_is_not_followed(tmp_path: Path) -> None:
    put(tmp_path / "elsewhere", "news/0/v0/1.m4s", age_ms=100 * MINUTE)
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "news").symlink_to(tmp_path / "elsewhere" / "news")
    assert sweep(tmp_path / "store", KEPT, now_unix_ms=NOW) == Swept()


def test_objects_stay_for_the_time_shift_and_then_for_the_longest_playlist_and_their_duration() -> None:
    settings = Settings(
        media=MediaSettings(time_shift_ms=100_000, target_duration_ms=2_000),
        store=StoreSettings(sweep_margin_ms=5_000),
        kafka=KafkaSettings(media_retention_ms=200_000),
    )
    assert ages(settings) == Ages(behind_ms=Ms(209_000), silent_ms=Ms(404_000))


def test_an_age_at_which_players_may_still_ask_is_refused() -> None:
    settings = Settings()
    assert ages(settings, older_than_ms=Ms(128_000)) == Ages(behind_ms=Ms(128_000), silent_ms=Ms(128_000))
    with pytest.raises(UserError, match=r"may still be asked for.*128 s"):
        ages(settings, older_than_ms=Ms(127_999))
