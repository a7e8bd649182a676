"""
One target with inputs that grow towards code not reached before: `python -m tests.fuzz.guided TARGET SECONDS`.

A process of its own: the fuzzer (Atheris) rewrites our modules as they are imported, and ends the process when it is done. What it
learned stays in `.cache/fuzz/corpus`, so the next run goes on from there; an input that crashes stays beside it.
"""

import contextlib
import subprocess
import sys
import zlib
from pathlib import Path
from random import Random
from typing import Any

CACHE = Path(__file__).parents[2] / ".cache" / "fuzz"
REQUIREMENTS = Path(__file__).with_name("requirements.txt")
OURS = ["packager", "streams.ingest", "schemas"]
INPUT_BYTES_MAX = 2**16
MEMORY_MIB_MAX = 2_048
INPUT_S_MAX = 20
FETCH_S = 120
OWN_MUTATION_SHARE = 0.5


def fuzzer() -> Path:
    """
    The folder of the pinned fuzzer, fetched once.

    Raises:
        RuntimeError: It is not to be had here; says why.
    """
    folder = CACHE / REQUIREMENTS.read_text().split()[-1].rpartition(":")[2][:16]
    if not folder.is_dir():
        scratch = folder.with_suffix(".part")
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:"]
        ran = subprocess.run(
            [*pip, "--upgrade", "--target", scratch, "--requirement", REQUIREMENTS],
            check=False, capture_output=True, text=True, timeout=FETCH_S,
        )  # fmt: skip
        if ran.returncode:
            raise RuntimeError(f"the fuzzer cannot be had here: {ran.stderr.strip()[-300:]}")
        scratch.replace(folder)
    return folder


def main(name: str, seconds: int) -> None:
    """Fuzzes until the time is over or something crashed; never returns."""
    sys.path.append(str(fuzzer()))
    import atheris

    with atheris.instrument_imports(include=OURS):
        from tests.fuzz.mutate import mutate
        from tests.fuzz.targets import TARGETS

        target = TARGETS[name]
        seeds = tuple(target.seeds())
    corpus = CACHE / "corpus" / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds):
        (corpus / f"seed-{number}").write_bytes(seed)

    def once(data: bytes) -> None:
        with contextlib.suppress(*target.errors):
            target.run(data, Random(zlib.crc32(data)))

    def changed(data: bytes, size_max: int, seed: int) -> Any:
        rng = Random(seed)
        if data and rng.random() < OWN_MUTATION_SHARE:
            return mutate(rng, bytes(data), seeds, has_boxes=target.has_boxes)[:size_max]
        return atheris.Mutate(data, size_max)

    flags = [f"-max_total_time={seconds}", f"-max_len={INPUT_BYTES_MAX}", f"-rss_limit_mb={MEMORY_MIB_MAX}", f"-timeout={INPUT_S_MAX}"]
    atheris.Setup(
        [sys.argv[0], *flags, "-print_final_stats=1", f"-artifact_prefix={CACHE}/{name}-", str(corpus)], once, custom_mutator=changed
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
