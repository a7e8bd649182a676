"""Commands about decisions: make them again, tell what was decided and why, and try another policy on what happened."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from infra.cli_log import From, To, position, progress_bar

if TYPE_CHECKING:
    from streams.replay.sources import Source

Lines = Annotated[Path | None, typer.Option("--file", metavar="FILE", help="Read what `finecut replay > FILE` wrote, not Kafka.")]


def redecide(begin: From = None, end: To = None, file: Lines = None) -> None:
    """
    Recompute every recorded decision from the recorded topics; all must come out equal.

    With --from it starts from the whole decision before that place. The first difference is explained; then the exit status is 1.
    """
    from schemas.errors import UserError
    from streams.replay.redecide import redecide_log
    from streams.version import code_version

    first, last = position(begin), position(end)
    with _log(file) as source, progress_bar(visible=True) as progress:
        verdict = redecide_log(source, begin=first, end=last, progress=progress, code_version=code_version())
    if verdict.is_equal and not verdict.equal:
        why_not = str(verdict).split("could not be: ")[-1]
        raise UserError(f"no decision could be made again: {why_not}", do="begin earlier, or leave out --from")
    typer.echo(str(verdict))
    raise typer.Exit(0 if verdict.is_equal else 1)


def why(channel: Annotated[str, typer.Argument(help="Channel id.")], begin: From = None, end: To = None, file: Lines = None) -> None:
    """
    What was decided about a channel, step by step: plans, starts and stops, who got its slices, each with its reason and cause.
    """
    from schemas.errors import UserError
    from schemas.topics import DECISIONS
    from streams.replay.history import history
    from streams.replay.redecide import whole_before

    first, last, told = position(begin), position(end), 0
    with _log(file) as source:
        kept = {stretch.partition: stretch.first for stretch in source.stretches([DECISIONS])}
        for stretch in source.stretches([DECISIONS], begin=first, end=last):
            head = whole_before(source, stretch, first=kept[stretch.partition])
            for event in history(source.read([head]), channel, told_from=stretch.first):
                told += 1
                typer.echo(str(event))
    if not told:
        raise UserError(f"nothing was decided about {channel!r} here", do="`finecut status` names the channels; leave out --from")


def whatif(
    policy: Annotated[Path, typer.Option(help="TOML: sections and keys of settings that decisions read; the rest stays as recorded.")],
    begin: From = None,
    end: To = None,
    pool: Annotated[int, typer.Option(min=0, help="Pool.")] = 0,
    packagers: Annotated[int | None, typer.Option(min=1, help="Hold this number; else as many as each policy wants.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of what is drawn: which packagers die.")] = 1,
    result: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file, too.")] = None,
    file: Lines = None,
) -> None:
    """
    Run another policy over what really happened and print the difference.

    A policy file is TOML with the sections and keys of the settings: the table granularity with wait_price_cores = 0.05, say.
    """
    import json

    from streams.replay.policies import read_policy
    from streams.replay.recorded import recorded
    from streams.replay.whatif import whatif as compare

    first, last = position(begin), position(end)
    with _log(file) as source:
        happened = recorded(source, pool=pool, begin=first, end=last)
    comparison = compare(happened, read_policy(policy, happened.policy), fixed=packagers, seed=seed)
    typer.echo(comparison.table(policy.name))
    if result is not None:
        result.write_text(json.dumps(comparison.plain(), indent=1))


@contextmanager
def _log(file: Path | None) -> "Iterator[Source]":
    """The log to read: a file of lines, the cluster at hand, or that of the last run."""
    from infra.state import log_at_hand
    from infra.topics import reach
    from streams.replay.sources import FileSource, KafkaSource

    if file is not None:
        yield FileSource(file)
        return
    with log_at_hand() as settings:
        reach(settings.kafka)
        yield KafkaSource(settings.kafka)
