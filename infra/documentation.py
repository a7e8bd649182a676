"""
What of the documents is made from the code: the tables of settings and topics, and the smallest packager.

`python -m infra.documentation` writes them into README.md and infra/SETTINGS.md.
"""

import re
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from schemas.settings import KafkaSettings, Settings
from schemas.topics import TOPICS

README = Path(__file__).parent.parent / "README.md"
SETTINGS = README.parent / "infra" / "SETTINGS.md"
MEASURED = README.parent / "infra" / "MEASURED.md"
MINIMAL = README.parent / "packager" / "minimal.py"


def settings_table() -> str:
    """Every setting: variable, default, meaning."""
    rows = ["| variable | default | what it is |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            rows += [_row(f"FINECUT_{name}__{inner}", it.default, it.description) for inner, it in section.model_fields.items()]
        else:
            rows.append(_row(f"FINECUT_{name}", field.default, field.description))
    return "\n".join(rows)


def topics_table() -> str:
    """Every topic: key, what its partitions stand for, cleanup, records, meaning."""
    kafka = KafkaSettings()
    rows = ["| topic | key | partition | cleanup | records | carries |", "|---|---|---|---|---|---|"]
    for topic in TOPICS:
        records = ", ".join(f"`{record.__name__}`" for record in topic.records)
        kept = f"delete after `{topic.retention}`" if topic.retention else topic.cleanup.value
        rows.append(f"| `{topic.name(kafka)}` | {topic.key} | {topic.spread.value} | {kept} | {records} | {topic.about} |")
    return "\n".join(rows)


def _row(variable: str, default: Any, meaning: str | None) -> str:
    shown = ", ".join(str(v) for v in default) if isinstance(default, tuple) else str(default)
    return f"| `{variable.upper()}` | {f'`{shown}`' if shown and default is not None else ''} | {meaning} |"


def packager_code() -> str:
    """The smallest whole packager, as it is run by a test."""
    code = MINIMAL.read_text()
    return f"```python\n{code[code.index('@dataclass') :].rstrip()}\n```"


MADE = {README: {"topics": topics_table, "packager": packager_code}, SETTINGS: {"settings": settings_table}}


def filled(document: Path) -> str:
    """The text of a document with each table between its markers, ``<!-- settings -->`` and ``<!-- /settings -->``, made anew."""
    text = document.read_text()
    for name, table in MADE[document].items():
        block = re.compile(rf"<!-- {name} -->\n.*?<!-- /{name} -->", re.DOTALL)
        if not block.search(text):
            raise ValueError(f"{document.name} has no place for the table of {name}")
        before, after = block.split(text, maxsplit=1)[0], block.split(text, maxsplit=1)[-1]
        text = f"{before}<!-- {name} -->\n{table()}\n<!-- /{name} -->{after}"
    return text


if __name__ == "__main__":
    for made in MADE:
        made.write_text(filled(made))
    sys.stdout.write(f"{', '.join(made.name for made in MADE)} are up to date\n")
