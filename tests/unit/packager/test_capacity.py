"""What a packager says it can carry and uses."""

from pathlib import Path

from packager.capacity import Meter, capacity, cores


def test_a_cgroup_quota_limits_the_cores(tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    assert cores(0.0, cgroup=tmp_path) == 0.5


def test_without_a_quota_affinity_counts(tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert cores(0.0, cgroup=tmp_path) == cores(0.0, cgroup=tmp_path / "none") >= 1


def test_capacity_has_a_positive_figure_for_every_resource() -> None:
    load = capacity(0.5, 150.0, fetch_bytes_max=2**20)
    assert (load.cores, load.part_ms) == (0.5, 75.0)
    assert min(load.memory_bytes, load.in_bytes_per_s, load.out_bytes_per_s) > 0


def test_use_is_per_second_since_the_last_reading() -> None:
    now = [0.0]
    meter = Meter(monotonic=lambda: now[0])
    meter.in_bytes, meter.out_bytes, now[0] = 1_000, 3_000, 2.0
    meter.add_part("news/all/0/0", 10.0)
    use = meter.read()
    assert (use.in_bytes_per_s, use.out_bytes_per_s, use.part_ms) == (500, 1_500, 10.0)
    assert use.cores >= 0
    assert use.memory_bytes >= 0
    now[0] = 4.0
    assert meter.read().in_bytes_per_s == 0
