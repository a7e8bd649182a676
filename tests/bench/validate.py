"""
What an origin says over TLS and HTTP/2, held against the media rules by `finecut validate` while lengths change, packagers die and
encoders follow each other, with a hole and without: `python -m tests.bench.validate [MINUTES]`.
"""

import json
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import psutil

from infra.kafka import LocalBroker, prepare
from infra.kafka.ports import free_ports
from infra.process import spawn, terminate
from schemas.records import Level
from tests.line import CACHE, OTHER_PRESET, PRESET, Line, whole_line
from tests.players.scenarios import encoder_of, holders

MINUTES = 4.0
CHANNEL = "watched"
# How long what is done is looked at before the next.
EACH_S = 10.0
END_S = 60.0


def main(minutes: float) -> int:
    """Prints what was done, what was checked and found; 1 if there are findings."""
    with tempfile.TemporaryDirectory() as path, LocalBroker(Path(path) / "kafka", prepare(CACHE)) as kafka:
        folder = Path(path)
        settings: dict[str, Any] = {"GRANULARITY__HOLD_MS": 2_000, "MEDIA__THUMBNAILS": True}
        with whole_line(kafka, folder / "line", packagers=2, **settings) as line:
            line.play(CHANNEL, idle=Level.PARTS)
            line.goes_on(CHANNEL, segments=2)
            url = secured(line, folder)
            command = [sys.executable, "-m", "infra.cli", "validate", url, "--ca", str(folder / "certificate.pem"), "--json"]
            with (folder / "found.json").open("wb") as out:
                validator = spawn([*command, "--seconds", str(60 * minutes)], stdout=out)
            try:
                done = list(disturb(line, psutil.Process(validator.pid)))
            finally:
                terminate(validator, timeout_s=END_S)
            found = json.loads((folder / "found.json").read_text())
            looks = sum(found["playlists"].values()) + sum(found["mpds"].values())
            print(
                f"{found['seconds']:.0f} s, {found['requests']} requests, {looks} manifests, {found['objects']} objects: {', '.join(done)}"
            )
            print("\n".join(json.dumps(finding) for finding in found["findings"]) or "no finding")
            return int(bool(found["findings"]))


def disturb(line: Line, validator: psutil.Process) -> Iterator[str]:
    """What was done to a line while the validator watches it."""
    lengths, presets, supervisor = cycle((1, 2, 4)), cycle((OTHER_PRESET, PRESET)), line.run.supervisor

    def cut() -> str:
        line.pin(CHANNEL, length := next(lengths))
        return f"segments of {length} s"

    def die() -> str:
        killed = line.until(lambda _: holders(line, CHANNEL), what="a holder")[0]
        supervisor.kill(killed)
        supervisor.revive(supervisor.children[killed])
        return "a packager killed"

    def renew() -> str:
        encoder_of(line, CHANNEL).is_wanted = False
        line.play(CHANNEL, idle=Level.PARTS, preset=next(presets))
        return "another encoder"

    def crash() -> str:
        encoder = encoder_of(line, CHANNEL)
        supervisor.kill(encoder.name)
        supervisor.revive(encoder)
        return "an encoder killed"

    for act in cycle((cut, die, cut, renew, cut, crash)):
        over = time.monotonic() + EACH_S
        while time.monotonic() < over and _runs(validator):
            line.hear()
        if not _runs(validator):
            return
        yield act()


def _runs(process: psutil.Process) -> bool:
    return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)


def secured(line: Line, folder: Path) -> str:
    """The address of one more origin of a line, with a certificate made for it in a folder, once it shows the channel."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1"]
    named = ["-addext", "subjectAltName=IP:127.0.0.1", "-out", str(certificate), "-keyout", str(key)]
    subprocess.run([*made, *named], check=True, capture_output=True)
    port = next(free_ports())
    own = {"PORT": str(port), "CERTIFICATE": str(certificate), "PRIVATE_KEY": str(key)}
    environment = {f"FINECUT_ORIGIN__{name}": value for name, value in own.items()}
    line.run.supervisor.start("origin-tls", "origin", ["origin", "--id", "origin-tls"], environment=environment)
    url, trust = f"https://127.0.0.1:{port}", ssl.create_default_context(cafile=certificate)

    def shows() -> bool:
        try:
            with urllib.request.urlopen(f"{url}/{CHANNEL}/hls/multivariant.m3u8", timeout=10, context=trust) as answer:  # noqa: S310 - ours
                return int(answer.status) == 200
        except (urllib.error.URLError, TimeoutError):
            return False

    line.until(lambda _: shows(), what="an origin over TLS")
    return f"{url}/"


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else MINUTES))
