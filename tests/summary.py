"""The end of a run of all legs: each test that failed with the first line of its reason, then the sum over all legs."""

import sys
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

WIDTH = 240


def failures(results: Path) -> Iterator[tuple[str, str, str]]:
    """Leg, test and reason (one line) of each test that failed or could not be set up, from the legs' JUnit files in ``results``."""
    for leg, case in _cases(results):
        for bad in (*case.iter("failure"), *case.iter("error")):
            reason = " ".join((bad.get("message") or bad.text or "no reason given").split())
            yield leg, f"{case.get('classname')}::{case.get('name')}", reason[:WIDTH]


def untold(results: Path, failed: Collection[str]) -> list[str]:
    """Those of the legs that failed of which no test says so: what was to run them ended first, or they have no tests."""
    return sorted(set(failed) - {leg for leg, _, _ in failures(results)})


def counts(results: Path) -> Counter[str]:
    """How many tests ``passed``, ``failed`` (or could not be set up) and were ``skipped``, over all legs in ``results``."""
    return Counter(
        "failed" if {"failure", "error"} & (told := {part.tag for part in case}) else "skipped" if "skipped" in told else "passed"
        for _, case in _cases(results)
    )


def _cases(results: Path) -> Iterator[tuple[str, ET.Element]]:
    for file in sorted(results.glob("*.xml")):
        for case in ET.parse(file).iter("testcase"):  # noqa: S314 - pytest wrote it a moment ago
            yield file.stem, case


if __name__ == "__main__":
    folder, seconds, legs = Path(sys.argv[1]), sys.argv[2], untold(Path(sys.argv[1]), sys.argv[3:])
    for leg, test, reason in failures(folder):
        print(f"{leg} {test}\n    {reason}")
    for leg in legs:
        print(f"{leg} failed, though no test of it did: its own output above says why")
    sums = counts(folder)
    print(f"==== {sums['passed']} passed, {sums['failed'] + len(legs)} failed, {sums['skipped']} skipped in {seconds} s ====")
