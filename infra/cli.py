"""The `finecut` command: what runs, on one machine or as one process of many. Imports are late so that it answers at once."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from infra import cli_decisions, cli_log, cli_simulate, cli_validate
from schemas.errors import FinecutError, UserError

if TYPE_CHECKING:
    from schemas.settings import Settings

HELP = """Live video packaging whose granularity follows demand.

`finecut demo` shows the whole on this machine in 90 seconds; `finecut up` keeps it running.
Every other command is one part of it, or a look into its log.
Settings: the environment (FINECUT_KAFKA__BOOTSTRAP_SERVERS=...) or finecut.toml.
"""

app = typer.Typer(help=HELP, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(cli_log.topics, name="topics")
app.add_typer(cli_log.schemas, name="schemas")
app.command()(cli_log.replay)
app.command()(cli_decisions.redecide)
app.command()(cli_decisions.why)
app.command()(cli_decisions.whatif)
app.command()(cli_validate.validate)
app.command()(cli_simulate.simulate)


# A broker that starts beside us, or moves to another machine, is there in less; else we are started again.
SERVE_S = 10.0


class IdleLevel(StrEnum):
    """As `schemas.records.Level`, without importing it for a help page."""

    OFF = "off"
    SEGMENTS = "segments"
    PARTS = "parts"


Seconds = Annotated[float, typer.Option(min=1, help="How long.")]
Packagers = Annotated[int | None, typer.Option(min=1, max=50, help="Exactly so many packagers; else as many as the load wants.")]
Brokers = Annotated[int, typer.Option(min=1, max=5, help="Kafka brokers of our own; 3: one may die and nothing is lost.")]


def main() -> None:
    """Run a command; what a person must put right is said in one sentence, without a traceback."""
    try:
        app()
    except UserError as error:
        _complain(error)
        sys.exit(error.status)
    except FinecutError as error:
        _complain(error)
        sys.exit(1)
    except BrokenPipeError:  # `finecut replay | head`: the reader has enough
        sys.stdout = None
        sys.exit(0)


def _complain(error: FinecutError) -> None:
    problem, *rest = str(error).split("\n", 1)
    typer.secho(f"error: {problem}", fg="red", err=True)
    for more in rest:
        typer.echo(more, err=True)


def _service() -> "Settings":
    from infra.logs import configure
    from infra.state import settings_at_hand

    settings = settings_at_hand()
    configure(settings.log_level)
    return settings


def _serving() -> "Settings":
    """The settings of a process that serves until it is told to stop; without Kafka it says so and ends, rather than wait unseen."""
    from infra.topics import reach

    settings = _service()
    reach(settings.kafka, timeout_s=SERVE_S)
    return settings


@app.command()
def demo(
    seconds: Annotated[float, typer.Option(min=30, help="Length of the story.")] = 90,
    viewers: Annotated[int, typer.Option(min=1, help="Viewers at the peak.")] = 40,
    packagers: Annotated[int, typer.Option(min=2, max=50, help="Packager processes; one of them is killed.")] = 3,
    brokers: Brokers = 1,
    summary: Annotated[Path | None, typer.Option(help="Write the summary to this file, as JSON.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the run to this PNG file.")] = None,
) -> None:
    """Start everything, show what it does in about 90 seconds, stop, and sum up; fails if anything was lost or conflicting."""
    from infra.demo import Story, tell

    raise typer.Exit(tell(Story(seconds=seconds, viewers=viewers, packagers=packagers, brokers=brokers, summary=summary, plot=plot)))


@app.command()
def up(packagers: Packagers = None, brokers: Brokers = 1) -> None:
    """Start everything on this machine and stay until Ctrl-C."""
    from infra.demo import stay

    raise typer.Exit(stay(packagers=packagers, brokers=brokers))


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    environment: Annotated[bool, typer.Option("--env", help='Its settings for a shell: eval "$(finecut status --env)".')] = False,
) -> None:
    """What runs here: processes, addresses, channels and their URLs."""
    from infra.status import show, show_environment

    raise typer.Exit(show_environment() if environment else show(as_json=as_json))


@app.command()
def doctor() -> None:
    """What is reachable, in which version, what is wrong, and what to do about it."""
    from infra.doctor import show

    raise typer.Exit(show())


@app.command()
def encode(
    source: Annotated[str, typer.Argument(metavar="INPUT", help="What FFmpeg reads, or a folder made by `finecut record`.")],
    channel: Annotated[list[str], typer.Option(help="Channel id; a recording may be played as several.")],
    realtime: Annotated[bool, typer.Option(help="Feed a file at the speed of a camera; a recording always is.")] = False,
    loop: Annotated[bool, typer.Option(help="Begin again at its end, on one timeline; a recording always does.")] = False,
    idle_level: Annotated[IdleLevel | None, typer.Option(help="What is packaged while nobody watches.")] = None,
    thumbnails: Annotated[bool | None, typer.Option(help="A JPEG of each segment; else as FINECUT_MEDIA__THUMBNAILS says.")] = None,
    standby: Annotated[bool, typer.Option(help="One of a pair, both started so: one leads, the other goes on for it.")] = False,
    take_over: Annotated[bool, typer.Option("--take-over", help="Take the channel from whoever writes it now, who then ends.")] = False,
) -> None:
    """Encode an input to CMAF chunks and write them to the log as a channel, until its end or Ctrl-C."""
    from schemas.records import Level
    from streams.ingest.encode import run

    level = Level(idle_level.value) if idle_level else None
    settings = _service()
    if thumbnails is not None:
        settings = settings.model_copy(update={"media": settings.media.model_copy(update={"thumbnails": thumbnails})})
    status = run(settings, source, channel, realtime=realtime, loop=loop, idle_level=level, standby=standby, take_over=take_over)
    raise typer.Exit(status)


@app.command()
def ingest() -> None:
    """Take CMAF that encoders push over HTTP to /CHANNEL/TRACK, until Ctrl-C."""
    from streams.ingest.http import run

    raise typer.Exit(run(_serving()))


@app.command()
def record(
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="File that FFmpeg reads.")],
    folder: Annotated[Path, typer.Argument(help="Where to keep it.")],
    seconds: Seconds = 24,
) -> None:
    """Encode an input once and keep it, to be played as many channels at little cost."""
    from streams.ingest.recording import make_recording

    length = make_recording(str(source), folder, seconds)
    typer.echo(f"{float(length):g} s in {folder}")


@app.command()
def end(
    channel: Annotated[str, typer.Argument(help="Channel id.")],
    take_over: Annotated[bool, typer.Option("--take-over", help="Also if an encoder writes it now, which then ends.")] = False,
) -> None:
    """End a channel whose encoder never returned."""
    from streams.ingest.end import run

    raise typer.Exit(run(_service(), channel, take_over=take_over))


@app.command()
def control() -> None:
    """Run the control plane: folds, forecasts, decisions."""
    from streams.__main__ import run

    raise typer.Exit(run(_serving()))


@app.command()
def packager(
    pool: Annotated[int, typer.Option(min=0, help="Pool it joins.")] = 0,
    packager_id: Annotated[str | None, typer.Option("--id", help="Its name; else made from the host's and the process id.")] = None,
) -> None:
    """Run one packager."""
    from packager.__main__ import run

    raise typer.Exit(run(_serving(), pool=pool, packager_id=packager_id or _own_name("packager")))


@app.command()
def origin(
    origin_id: Annotated[str | None, typer.Option("--id", help="Its name; else made from the host's and the process id.")] = None,
) -> None:
    """Run one origin: manifests, media, the watch page, and what players report."""
    from packager.origin.server import run

    raise typer.Exit(run(_serving(), origin_id=origin_id or _own_name("origin")))


@app.command()
def sweep(
    older_than: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", min=0, help="Everything older than this; else what is no longer listed in its channel."),
    ] = None,
) -> None:
    """Delete objects from the store that players can no longer ask for."""
    from infra.state import store_at_hand
    from infra.sweep import run
    from schemas.units import Ms

    swept = run(store_at_hand(), older_than_ms=None if older_than is None else Ms(round(older_than * 1_000)))
    typer.echo(str(swept))


@app.command()
def audience(
    url: Annotated[str, typer.Argument(help="Multivariant playlist of the channel to watch.")],
    viewers: Annotated[int, typer.Option(min=1, help="Viewers at the peak.")] = 40,
    seconds: Seconds = 60,
    result: Annotated[Path | None, typer.Option(help="Write what they saw to this file, as JSON.")] = None,
) -> None:
    """Let an audience come and go as a recorded one did, playing HLS and reporting CMCD."""
    from infra.logs import configure
    from infra.viewers import run

    configure("info")
    raise typer.Exit(run(url, viewers=viewers, seconds=seconds, result=result))


@app.command()
def rawlatency(
    seconds: Seconds = 10,
    result: Annotated[Path | None, typer.Option(help="Write the figures to this file, as JSON.")] = None,
) -> None:
    """Measure produce to consume on the cluster itself, to hold our own figures against."""
    from infra.rawlatency import run
    from infra.state import settings_at_hand

    raise typer.Exit(run(settings_at_hand(), seconds=seconds, result=result))


def _own_name(role: str) -> str:
    import os
    import re
    import socket

    host = re.sub(r"[^a-z0-9-]+", "-", socket.gethostname().lower()).strip("-")[:32]
    return f"{role}-{host}-{os.getpid()}"


if __name__ == "__main__":
    main()
