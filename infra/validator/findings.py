"""What was found, and how exact an observer over HTTP can be."""

from collections.abc import Iterable
from dataclasses import dataclass

FINDINGS_MAX = 5_000
JITTER_MS, ANSWER_MS = 300.0, 2_000.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """
    A rule that was broken.

    Attributes:
        rule: Its number.
        url: The object that breaks it.
        what: What is wrong, in a few words that are the same for every object it is wrong with.
        expected: What the rule asks for.
        seen: What was there.
        at_ms: Unix time at which it was seen; 0 if it is about no moment.
    """

    rule: int
    url: str
    what: str
    expected: str
    seen: str
    at_ms: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """
    What an observer allows for.

    Attributes:
        jitter_ms: Delay of the network and of both machines.
        answer_ms: Longest time for what is listed to arrive.
        needs_low_latency: Low latency was asked for: a presentation without it is a finding.
    """

    jitter_ms: float = JITTER_MS
    answer_ms: float = ANSWER_MS
    needs_low_latency: bool = False


def distinct(findings: Iterable[Finding]) -> list[Finding]:
    """Findings by rule and place, each once however often it was seen, the earliest of them; at most FINDINGS_MAX."""
    seen: dict[tuple[int, str, str, str, str], Finding] = {}
    for finding in findings:
        key = (finding.rule, finding.url, finding.what, finding.expected, finding.seen)
        if key not in seen and len(seen) < FINDINGS_MAX:
            seen[key] = finding
    return sorted(seen.values(), key=lambda f: (f.rule, f.url, f.at_ms, f.what, f.seen))
