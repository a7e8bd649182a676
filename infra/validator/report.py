"""Findings for people and for programs."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from infra.validator.evidence import Evidence
from infra.validator.findings import Finding
from infra.validator.rules import RULES

SHOWN_PER_RULE = 8


def summary(evidence: Evidence, findings: Sequence[Finding], *, seconds: float, lag_ms: float = 0.0) -> dict[str, Any]:
    """What was watched and found, as plain values."""
    answers = [answer for list_ in evidence.answers.values() for answer in list_]
    return {
        "seconds": round(seconds, 1),
        "own_lag_ms": round(lag_ms),
        "requests": len(answers),
        "bytes": sum(answer.size for answer in answers),
        "playlists": {url: len(looks) for url, looks in evidence.playlists.items()},
        "mpds": {url: len(looks) for url, looks in evidence.mpds.items()},
        "objects": len(evidence.media),
        "rules_broken": sorted({finding.rule for finding in findings}),
        "findings": [asdict(finding) for finding in findings],
    }


def as_json(evidence: Evidence, findings: Sequence[Finding], *, seconds: float, lag_ms: float = 0.0) -> str:
    """The summary as text."""
    return json.dumps(summary(evidence, findings, seconds=seconds, lag_ms=lag_ms), indent=2)


def show(evidence: Evidence, findings: Sequence[Finding], *, seconds: float, lag_ms: float = 0.0) -> None:
    """Print what was watched and a table of what was found."""
    console = Console()
    plain = summary(evidence, findings, seconds=seconds, lag_ms=lag_ms)
    looks = sum(plain["playlists"].values()) + sum(plain["mpds"].values())
    manifests = len(plain["playlists"]) + len(plain["mpds"])
    console.print(
        f"{plain['seconds']:g} s, {plain['requests']} requests: {looks} looks at {manifests} manifests, {plain['objects']} objects read, "
        f"{plain['bytes'] / 1e6:.1f} MB; we were kept waiting for up to {lag_ms:.0f} ms ourselves, which is allowed for",
        highlight=False,
    )
    if not findings:
        console.print("no rule was broken in what was seen")
        return
    table = Table("rule", "object", "what", "expected", "seen", show_lines=True)
    for rule in RULES:
        own = [finding for finding in findings if finding.rule == rule.number]
        for finding in own[:SHOWN_PER_RULE]:
            table.add_row(str(rule.number), finding.url, finding.what, finding.expected, finding.seen)
        if len(own) > SHOWN_PER_RULE:
            table.add_row(str(rule.number), "", f"and {len(own) - SHOWN_PER_RULE} more", "", "all are in --json")
    console.print(table)
    console.print(f"{_count(len(findings), 'finding')} against {_count(len(plain['rules_broken']), 'rule')}")


def _count(number: int, what: str) -> str:
    """
    A number of things, in words.

    >>> _count(1, "rule"), _count(2, "rule")
    ('1 rule', '2 rules')
    """
    return f"{number} {what}{'' if number == 1 else 's'}"


def show_rules() -> None:
    """Print the rules, and what of each no client can see."""
    table = Table("rule", "asks for", "cannot be seen from outside", show_lines=True)
    for rule in RULES:
        table.add_row(str(rule.number), rule.title, rule.unseen)
    Console().print(table)
