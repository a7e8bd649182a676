"""Commands about the log: its topics, its schemas, and reading it back."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from schemas.topics import Topic
    from streams.replay.positions import Position

topics = typer.Typer(help="Create, verify, describe and tail the topics.", no_args_is_help=True)
schemas = typer.Typer(help="Schemas of the records.", no_args_is_help=True)

From = Annotated[str | None, typer.Option("--from", help="Offset (1200), time (2026-01-31T18:00:00) or span (-5m); else the beginning.")]
To = Annotated[str | None, typer.Option("--to", help="The same, excluded; else the end.")]


class Role(StrEnum):
    """Keys of `infra.access.RULES`, without importing it for a help page."""

    ENCODER = "encoder"
    CONTROL = "control"
    PACKAGER = "packager"
    ORIGIN = "origin"
    READER = "reader"


@topics.command()
def create() -> None:
    """Make the topics that are missing and check the others."""
    from infra.state import settings_at_hand
    from infra.topics import ensure, reach, wanted_topics

    settings = settings_at_hand()
    wanted = wanted_topics(settings)
    made = ensure(reach(settings.kafka), wanted, replication_factor=settings.kafka.replication_factor)
    typer.echo(f"{len(made)} topics made, {len(wanted) - len(made)} were there and are right")


@topics.command()
def grant(
    role: Annotated[Role, typer.Argument(help="What the user runs.")],
    user: Annotated[str, typer.Argument(help="Its name, as Kafka knows it.")],
) -> None:
    """Allow a user of a secured cluster what its role needs, and nothing else; needs a user that may alter the cluster."""
    from infra.access import RULES, allow
    from infra.state import settings_at_hand
    from infra.topics import reach

    kafka = settings_at_hand().kafka
    for line in allow(reach(kafka), kafka, RULES[role.value], user):
        typer.echo(line)


@topics.command()
def verify() -> None:
    """Say how the topics differ from what the settings say."""
    from infra.state import log_at_hand
    from infra.topics import reach, verify, wanted_topics

    with log_at_hand() as settings:
        wanted = wanted_topics(settings)
        differences = verify(reach(settings.kafka), wanted)
    for difference in differences:
        typer.secho(str(difference), fg="red")
    if not differences:
        typer.echo(f"{len(wanted)} topics are as they should be")
    raise typer.Exit(1 if differences else 0)


@topics.command()
def describe() -> None:
    """Print partitions and configuration of the topics as they are, as JSON."""
    from infra.state import log_at_hand
    from infra.topics import as_json, reach, wanted_topics

    with log_at_hand() as settings:
        typer.echo(as_json(reach(settings.kafka), wanted_topics(settings)))


@topics.command()
def tail(topic: Annotated[str, typer.Argument(help="Topic, as in `decisions`.")]) -> None:
    """Print records as they are written, one line of JSON each, until Ctrl-C."""
    from infra.state import settings_at_hand
    from infra.topics import reach
    from streams.replay.entries import to_line
    from streams.replay.reader import follow

    settings = settings_at_hand()
    chosen = _topics([topic])
    reach(settings.kafka)
    typer.secho("what is written from now on, until Ctrl-C; `finecut replay` shows what was", err=True, dim=True)
    for entry in follow(settings.kafka, chosen):
        if entry is not None:
            print(to_line(entry), flush=True)


@schemas.command()
def check(
    old: Annotated[str | None, typer.Argument(help="Released version (0.1.0) or folder of schemas; else every released version.")] = None,
) -> None:
    """Check that code of a release and today's can read each other's records."""
    from schemas.codec import FOLDER, RELEASED
    from schemas.compatibility import incompatibilities, read_folder

    versions = sorted(path for path in RELEASED.glob("*") if path.is_dir())
    chosen = versions if old is None else [RELEASED / old if (RELEASED / old).is_dir() else Path(old)]
    now, broken = read_folder(FOLDER), 0
    for folder in chosen:
        found = incompatibilities(read_folder(folder), now)
        broken += len(found)
        typer.echo(f"{folder.name}: {f'{len(found)} incompatibilities' if found else 'compatible both ways'}")
        for problem in found:
            typer.secho(f"  {problem.record}: {problem.reader} code could not read it: {problem.problem}", fg="red")
    if not chosen:
        typer.echo(f"{len(now)} schemas are well formed; no version is released yet")
    raise typer.Exit(1 if broken else 0)


def replay(
    names: Annotated[list[str] | None, typer.Argument(metavar="[TOPIC]...", help="Topics, as in `decisions`; else all.")] = None,
    begin: From = None,
    end: To = None,
    channel: Annotated[str | None, typer.Option(help="Only what speaks of this channel.")] = None,
    payloads: Annotated[bool, typer.Option(help="With the bytes of chunks.")] = False,
    parquet: Annotated[Path | None, typer.Option(help="Write one Parquet table per topic into this folder.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw demand, forecast, segment length and packager load to this PNG file.")] = None,
) -> None:
    """
    Read the log back: print records as lines of JSON, write Parquet tables, or draw what happened.

    After `demo` or `up` ended, the log they left is read.
    """
    from infra.state import log_at_hand
    from infra.topics import reach
    from schemas.topics import MEDIA
    from streams.replay.entries import to_line
    from streams.replay.reader import read, stretches

    chosen = _topics(names or [])
    first, last = position(begin), position(end)
    with log_at_hand() as settings:
        reach(settings.kafka)
        wanted = stretches(settings.kafka, [t for t in chosen if plot is None or t is not MEDIA], begin=first, end=last)
        with progress_bar(visible=parquet is not None or plot is not None or not sys.stdout.isatty()) as progress:
            entries = read(settings.kafka, wanted, channel=channel, payloads=payloads, progress=progress)
            if plot is not None:
                from streams.replay.report import draw

                draw(entries, plot)
                typer.echo(f"drawn to {plot}")
            elif parquet is not None:
                from streams.replay.tables import write_tables

                rows = write_tables(entries, parquet, payloads=payloads)
                typer.echo(json.dumps(rows))
            else:
                for entry in entries:
                    print(to_line(entry))


def _topics(names: list[str]) -> "list[Topic]":
    from schemas.errors import UserError
    from schemas.topics import TOPICS

    titles = {topic.title: topic for topic in TOPICS}
    unknown = [name for name in names if name not in titles]
    if unknown:
        raise UserError(f"no topic is called {', '.join(unknown)}", do=f"choose from {', '.join(titles)}")
    return [titles[name] for name in names] or list(TOPICS)


def position(text: str | None) -> "Position | None":
    """The place that --from or --to names; None when it was left out."""
    import time

    from schemas.units import UnixMs
    from streams.replay.positions import parse_position

    return None if text is None else parse_position(text, now_unix_ms=UnixMs(time.time_ns() // 1_000_000))


@contextmanager
def progress_bar(*, visible: bool) -> Iterator[Callable[[int, int], None]]:
    """A bar on the terminal that is told (seen, total); nothing where there is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("reading"), BarColumn(), MofNCompleteColumn(), TextColumn("records"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not (visible and sys.stderr.isatty()), transient=True) as bar:
        task = bar.add_task("reading", total=None)
        yield lambda seen, total: bar.update(task, completed=seen, total=total)
