"""The command that runs a scenario in virtual time."""

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from schemas.errors import UserError


def simulate(
    scenario: Annotated[Path, typer.Argument(metavar="SCENARIO", help="A scenario file; streams/simulate/scenarios has some.")],
    plot: Annotated[Path | None, typer.Option(help="Draw the run to this PNG file.")] = None,
    result: Annotated[Path | None, typer.Option("--json", help="Write all figures to this file.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Instead of the one of the file.")] = None,
) -> None:
    """Run a whole pool in virtual time: channels, an audience, packagers, faults; print what came of it."""
    from streams.simulate.scenario.reading import read_scenario
    from streams.simulate.scenario.run import run

    read = read_scenario(scenario, {} if seed is None else {"seed": seed})
    outcome = run(read, find=lambda name: find(name, scenario.parent))
    typer.echo(read.about or scenario.name)
    typer.echo(outcome.table())
    if result:
        result.write_text(json.dumps(outcome.plain(), indent=1) + "\n")
    if plot:
        from infra.scenario_picture import draw

        draw(outcome, plot, title=read.about or scenario.name)
        typer.echo(f"drawn to {plot}")


def find(name: str, folder: Path) -> Path:
    """
    Where a file named in a scenario lies: as named, beside the scenario, or in the folder of recorded series.

    Raises:
        UserError: Nowhere there.
    """
    data = os.environ.get("FINECUT_DATA")
    places = [folder / name, *([Path(data) / name] if data else [])]
    for place in places:
        if place.exists():
            return place
    problem = f"{name} is neither beside the scenario, in {folder}, nor in FINECUT_DATA, which is {data or 'not set'}"
    raise UserError(problem, do=f"set FINECUT_DATA to the folder of recorded series that holds {name}")
