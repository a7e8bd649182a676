"""What is fetched is pinned by content, and no file says from where."""

import json
import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NPM_LOCKS = ("packager/origin/console/package-lock.json", "tests/players/package-lock.json")
MADE = {".git", ".venv", ".cache", ".finecut", "node_modules", "vendor", "__pycache__"}
ADDRESS = re.compile(
    r"(index-url|registry|repository|mirror)\S*\s*[=:]\s*\S*https?://|pypi\.org|pythonhosted|npmjs\.org|npmjs\.com|repo1\.maven|maven\.org"
)


def requirements() -> list[str]:
    lines = (ROOT / "requirements.lock").read_text().replace("\\\n", " ").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_every_python_package_is_pinned_by_hash() -> None:
    assert [line for line in requirements() if "==" not in line or "--hash=sha256:" not in line] == []


def test_every_declared_dependency_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = project["dependencies"] + project["optional-dependencies"]["dev"]
    names = {re.split(r"[<>=!~\[ ;]", requirement)[0].lower() for requirement in declared}
    assert names <= {line.split("==")[0] for line in requirements()}


@pytest.mark.parametrize("lock", NPM_LOCKS)
def test_every_npm_package_is_pinned_by_hash_and_has_no_address(lock: str) -> None:
    packages = {name: entry for name, entry in json.loads((ROOT / lock).read_text())["packages"].items() if name}
    assert [name for name, entry in packages.items() if "integrity" not in entry or "resolved" in entry] == []


def test_no_file_names_the_address_of_a_registry() -> None:
    found = {path: ADDRESS.search(path.read_text(errors="replace")) for path in our_files() if path != Path(__file__)}
    assert {str(path): match[0] for path, match in found.items() if match} == {}


def our_files() -> Iterator[Path]:
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in MADE and not name.endswith(("_cache", ".egg-info"))]
        yield from (Path(folder, name) for name in files)
