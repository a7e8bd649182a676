"""`finecut validate`: an origin held against the media rules."""

from pathlib import Path
from typing import Annotated

import typer

from infra.validator.findings import ANSWER_MS, JITTER_MS, Limits


def validate(
    url: Annotated[
        str | None, typer.Argument(help="Playlist, MPD, root of an origin (all its channels that are on), or a recorded watch.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=1, help="How long to watch.")] = 30,
    low_latency: Annotated[
        bool | None, typer.Option("--low-latency/--plain", help="Only low latency, which is then demanded; only plain; else both.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    jitter_ms: Annotated[
        float, typer.Option(min=0, help="Delays that are nobody's fault: of the network and of a busy machine.")
    ] = JITTER_MS,
    record: Annotated[
        Path | None, typer.Option(help="Keep every exchange in this file; name it instead of a URL to judge it again.")
    ] = None,
    ca: Annotated[Path | None, typer.Option(help="Whom to trust for certificates of an https URL (PEM), else as the system does.")] = None,
    rules: Annotated[bool, typer.Option("--rules", help="Print the rules, and what of them cannot be seen from outside.")] = False,
) -> None:
    """Watch an origin over HTTP and check what it serves, rule by rule; status 0: no finding, 1: findings, 2: nothing to check."""
    import asyncio
    import ssl
    import time

    from infra.validator import report
    from infra.validator.checks import check
    from infra.validator.evidence import Evidence
    from infra.validator.recording import Exchange, load, save
    from infra.validator.watch import Wanted, WatchError, watch

    if rules:
        report.show_rules()
        return
    if url is None:
        raise typer.BadParameter("name a URL", param_hint="URL")
    evidence = Evidence()
    exchanges: list[Exchange] = []
    began_s = time.monotonic()
    lag_ms = 0.0
    try:
        if "://" not in url and Path(url).is_file():
            evidence = Evidence(load(Path(url)))
        else:
            note = exchanges.append if record else lambda _: None
            trust = ssl.create_default_context(cafile=ca) if ca else None
            lag_ms = asyncio.run(watch(Wanted(url=url, seconds=seconds, low_latency=low_latency), evidence, note, trust=trust)).lag_ms
    except (WatchError, ValueError, OSError) as error:
        typer.secho(f"error: {error}", fg="red", err=True)
        raise typer.Exit(2) from error
    took_s = time.monotonic() - began_s
    if record:
        save(exchanges, record)
    limits = Limits(jitter_ms=jitter_ms + lag_ms, answer_ms=ANSWER_MS + jitter_ms + lag_ms, needs_low_latency=bool(low_latency))
    findings = check(evidence, limits)
    if as_json:
        typer.echo(report.as_json(evidence, findings, seconds=took_s, lag_ms=lag_ms))
    else:
        report.show(evidence, findings, seconds=took_s, lag_ms=lag_ms)
    raise typer.Exit(1 if findings else 0)
