"""What a local run refuses before it starts anything."""

import os
import shutil
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from infra import local
from infra.kafka import LocalCluster
from infra.local import PACKAGERS_PER_CORE, LocalRun
from schemas.errors import UserError
from schemas.settings import HOUR_MS, KafkaSettings, OriginSettings, ScalingSettings, Settings


def local_run(settings: Settings) -> LocalRun:
    return LocalRun(settings, packagers=1, say=lambda _: None)


def test_a_port_that_was_asked_for_and_is_taken_is_named(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(UserError, match=rf"(?s)port {port} of the origin is taken.*FINECUT_ORIGIN__PORT=0"):
            local_run(Settings(state_dir=tmp_path, origin=OriginSettings(port=port)))


def test_a_full_disk_is_told_before_anything_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**12, 10**12, 10**6))
    with pytest.raises(UserError, match=r"(?s)disk full at .*FINECUT_STATE_DIR"):
        local_run(Settings(state_dir=tmp_path)).start()


def test_one_machine_gets_one_pool_unless_more_are_asked_for(tmp_path: Path) -> None:
    assert local_run(Settings(state_dir=tmp_path)).environment["FINECUT_KAFKA__POOL_COUNT"] == "1"
    asked = local_run(Settings(state_dir=tmp_path, kafka=KafkaSettings(pool_count=3))).environment
    assert (asked["FINECUT_KAFKA__POOL_COUNT"], asked["FINECUT_KAFKA__MEDIA_PARTITION_COUNT"]) == ("3", "16")


def test_one_machine_gets_no_more_packagers_than_it_can_feed_unless_more_are_asked_for(tmp_path: Path) -> None:
    def most(scaling: ScalingSettings) -> int:
        return int(local_run(Settings(state_dir=tmp_path, scaling=scaling)).environment["FINECUT_SCALING__PACKAGERS_MAX"])

    assert most(ScalingSettings()) == PACKAGERS_PER_CORE * len(os.sched_getaffinity(0))
    assert most(ScalingSettings(packagers_min=100)) == 100
    assert most(ScalingSettings(packagers_max=7)) == 7


def test_a_log_of_our_own_keeps_chunks_for_a_quarter_of_an_hour_and_that_of_a_cluster_is_its_own_affair(tmp_path: Path) -> None:
    def kept(**kafka: Any) -> str | None:
        settings = Settings(state_dir=tmp_path, kafka=KafkaSettings(**kafka))
        return local_run(settings).environment.get("FINECUT_KAFKA__MEDIA_RETENTION_MS")

    assert (kept(), kept(media_retention_ms=HOUR_MS), kept(bootstrap_servers="127.0.0.1:9")) == ("900000", "3600000", None)


class FakeBroker:
    """A broker that ends when told to."""

    def __init__(self) -> None:
        self.pid: int | None = 1
        self.is_alive = True
        self.log = Path("broker.log")

    def kill(self) -> None:
        self.pid = None

    def launch(self) -> None:
        self.pid, self.is_alive = 2, True


def test_one_of_several_brokers_that_ends_is_started_again_and_what_the_others_can_do_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = local_run(Settings(state_dir=tmp_path))
    brokers = {number: FakeBroker() for number in (1, 2, 3)}
    cluster = LocalCluster.__new__(LocalCluster)
    cluster.brokers = brokers  # type: ignore[assignment]
    run.kafka = cluster
    monkeypatch.setattr(run, "leave_word", lambda: None)
    now_s, told = 100.0, list[str]()
    monkeypatch.setattr(local, "time", SimpleNamespace(monotonic=lambda: now_s))
    for number, meanwhile in ((2, "the others go on"), (3, "nothing is written while 1 of 3 are left")):
        brokers[number].is_alive = False
        run.tend(told.append)
        assert f"kafka-{number} ended" in told[-1]
        assert meanwhile in told[-1]
    now_s += 0.3
    run.tend(told.append)
    assert all(broker.is_alive for broker in brokers.values())
    assert len(told) == 2
