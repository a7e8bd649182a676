"""The rules as functions of the evidence. `check` runs them all."""

from collections.abc import Callable, Iterator

from infra.validator.checks import aside, dash, delivery, listing, lowlatency, mediabytes, reloads, renditions, updates
from infra.validator.evidence import Evidence
from infra.validator.findings import Finding, Limits, distinct

Check = Callable[[Evidence, Limits], Iterator[Finding]]
CHECKS: tuple[Check, ...] = (
    *listing.CHECKS,
    *reloads.CHECKS,
    *lowlatency.CHECKS,
    *renditions.CHECKS,
    *delivery.CHECKS,
    *mediabytes.CHECKS,
    *dash.CHECKS,
    *updates.CHECKS,
    *aside.CHECKS,
)


def check(evidence: Evidence, limits: Limits | None = None) -> list[Finding]:
    """Everything that breaks a rule."""
    limits = limits or Limits()
    return distinct(finding for one in CHECKS for finding in one(evidence, limits))
