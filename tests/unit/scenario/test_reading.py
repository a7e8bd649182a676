"""A scenario file says what is wrong with it: the line, and what was expected."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from schemas.errors import UserError
from streams.simulate.scenario.reading import read_scenario, scenario_of
from streams.simulate.scenario.run import run
from streams.simulate.scenario.spec import Scenario, Table

FOLDER = Path(__file__).parents[3] / "streams" / "simulate" / "scenarios"


def problem(text: str) -> str:
    with pytest.raises(UserError) as told:
        scenario_of(tomllib.loads(text), name="s.toml", text=text)
    return told.value.problem


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("duraton = '1 h'", "s.toml, line 1: duraton: there is no such key; there are about"),
        ("[pool]\ncores = 0", "s.toml, line 2: pool.cores: Input should be greater than 0, not 0"),
        ("step = 1000", "s.toml, line 1: step: expected a time with its unit (ms, s, min, h, d), such as '500 ms' or '24 h', not 1000"),
        ("[channels]\n\ngop = '1 week'", "s.toml, line 3: channels.gop: expected a time with its unit"),
        ("[policy.granularity]\nidle = 3", "s.toml, line 2: policy.granularity.idle: there is no such key; there are"),
        ("[policy.planner]\ndemand = 'guess'", "s.toml, line 2: policy.planner.demand: Input should be 'forecast' or 'last_value'"),
        ("[scaler]\nleast = 5\nmost = 4", "s.toml, line 1: scaler: least must not exceed most"),
        ("[players]\nparts_share = 0.8\nchunked_share = 0.3", "s.toml, line 1: players: parts_share and chunked_share together"),
        ("[audience]\nkind = 'trace'", "s.toml, line 1: audience: series: at least one with kind 'trace'"),
        ("duration = '1 min'\n[faults]\nkill = ['2 min']", "faults.kill and audience.at lie before the end"),
    ],
)
def test_a_wrong_key_unit_or_range_is_refused_with_its_line(text: str, said: str) -> None:
    assert said in problem(text)


def test_a_file_that_is_no_toml_is_refused_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text("seed = 1\nstep = \n")
    with pytest.raises(UserError, match="line 2"):
        read_scenario(file)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("viewers\n1\nmany\n", "line 3: expected a number, not 'many'"),
        ("viewers\n1\n-2\n", "line 3: expected a number of at least 0"),
        ("people\n1\n2\n", "line 1: no column viewers; there are people"),
        ("viewers\n0\n0\n", "no two values above 0"),
    ],
)
def test_a_series_that_is_none_is_refused_with_its_line(tmp_path: Path, table: str, said: str) -> None:
    (tmp_path / "series.csv").write_text(table)
    series = {"file": "series.csv", "column": "viewers", "step": "1 min"}
    scenario = scenario_of({"audience": {"kind": "trace", "series": [series]}}, name="s.toml")
    with pytest.raises(UserError, match=said):
        run(scenario, find=lambda name: tmp_path / name)


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.toml")), ids=lambda file: file.stem)
def test_the_scenarios_kept_here_can_be_read(file: Path) -> None:
    assert read_scenario(file).about


def keys(table: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in table.model_fields.items():
        kinds = [kind for kind in (field.annotation, *get_args(field.annotation)) if isinstance(kind, type) and issubclass(kind, Table)]
        if kinds and name != "policy":
            yield from keys(kinds[0], f"{prefix}{name}[]." if name == "series" else f"{prefix}{name}.")
        elif name != "policy":
            yield f"{prefix}{name}"


def test_every_key_is_told_of() -> None:
    text = (FOLDER / "README.md").read_text()
    assert [key for key in keys(Scenario) if f"| `{key}` |" not in text] == []
