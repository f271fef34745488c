from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from hierarchy_lm.cli import main
from hierarchy_lm.dataset import SPLITS, DatasetInfo, TaskInfo, read_dataset, read_task

Row = dict[str, Any]


@dataclass
class Prepared:
    """A dataset folder, read back with plain pyarrow."""

    folder: Path

    @property
    def info(self) -> DatasetInfo:
        return read_dataset(self.folder)

    @property
    def report(self) -> str:
        return (self.folder / "report.md").read_text(encoding="utf-8")

    @property
    def paths(self) -> list[str]:
        return pq.read_table(self.folder / "hierarchy.parquet")["path"].to_pylist()

    def rows(self, place: str = "products") -> dict[str, Row]:
        """Rows by item id, with their split."""
        found: dict[str, Row] = {}
        for split in SPLITS:
            for shard in sorted((self.folder / place).glob(f"{split}-*.parquet")):
                for row in pq.read_table(shard).to_pylist():
                    assert row["item_id"] not in found
                    found[row["item_id"]] = {**row, "split": split}
        return found

    def nodes(self) -> dict[str, list[str]]:
        """Paths of each item's nodes."""
        paths = self.paths
        return {
            item: [paths[node] for node in row["node_ids"]] for item, row in self.rows().items()
        }

    def task(self, name: str) -> TaskInfo:
        return read_task(self.folder / "tasks" / name)

    def labels(self, name: str) -> dict[str, list[str]]:
        """Label names of each row of a task."""
        names = self.task(name).labels
        rows = self.rows(f"tasks/{name}")
        return {item: [names[label] for label in row["label_ids"]] for item, row in rows.items()}


def run(folder: Path, mapping: Row, output: str = "out") -> int:
    """`hlm prepare` on a mapping, with the folder as root."""
    config = folder / "mapping.yaml"
    whole = {"name": "n", "source": "s", "licence": "l", "threads": 1, **mapping}
    config.write_text(yaml.safe_dump(whole), encoding="utf-8")
    paths = ["--root", str(folder), "--output", str(folder / output)]
    return main(["prepare", "--config", str(config), *paths])


@pytest.fixture
def prepare(tmp_path: Path) -> Callable[[Row], Prepared]:
    def prepared(mapping: Row) -> Prepared:
        assert run(tmp_path, mapping) == 0
        return Prepared(tmp_path / "out")

    return prepared


@pytest.fixture
def error_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """The one line that a mapping fails with; nothing may be left behind."""

    def failed(mapping: Row, output: str = "out") -> str:
        before = {path.name for path in tmp_path.iterdir()} | {"mapping.yaml"}
        assert run(tmp_path, mapping, output) == 2
        lines = capsys.readouterr().err.strip().splitlines()
        assert len(lines) == 1
        assert {path.name for path in tmp_path.iterdir()} == before
        return lines[0]

    return failed
