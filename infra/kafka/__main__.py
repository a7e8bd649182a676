"""`python -m infra.kafka CACHE_DIR`: fetch Kafka and train its class archive, so that the first start is a quick one."""

from pathlib import Path

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from schemas.errors import UserError

from . import prepare


def main(cache_dir: Path) -> None:
    """Fetch what is missing into CACHE_DIR, with a progress bar."""
    columns = (TextColumn("Apache Kafka"), BarColumn(), MofNCompleteColumn(), TextColumn("jars"), TimeElapsedColumn())
    with Progress(*columns) as progress:
        task = progress.add_task("jars", total=None)
        try:
            prepare(cache_dir, lambda have, wanted: progress.update(task, completed=have, total=wanted))
        except UserError as error:
            raise SystemExit(str(error)) from None


if __name__ == "__main__":
    typer.run(main)
