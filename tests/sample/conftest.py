import json
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_modules.sample import SampleOptions, write_sample

ITEMS = 6000


class Sample(NamedTuple):
    """A generated folder, read without the project's readers."""

    folder: Path

    def rows(self, place: str = "products", split: str = "*") -> list[dict[str, Any]]:
        files = sorted((self.folder / place).glob(f"{split}-*.parquet"))
        rows = pa.concat_tables([pq.read_table(file) for file in files]).to_pylist()
        return sorted(rows, key=lambda row: row["item_id"])

    def nodes(self) -> list[dict[str, Any]]:
        return pq.read_table(self.folder / "hierarchy.parquet").to_pylist()

    def labels(self, task: str) -> list[str]:
        return json.loads((self.folder / "tasks" / task / "task.json").read_text())["labels"]


def text_of(row: dict[str, Any]) -> str:
    parts = [row.get("query"), row["title"], row["description"], *(row["bullet_points"] or [])]
    return " ".join(part for part in parts if part)


@pytest.fixture(scope="session")
def make_sample(tmp_path_factory):
    def make(**options: Any) -> Sample:
        folder = tmp_path_factory.mktemp("samples") / "made"
        write_sample(folder, SampleOptions(**options))
        return Sample(folder)

    return make


@pytest.fixture(scope="session")
def clean(make_sample) -> Sample:
    return make_sample(items=ITEMS, noise="clean", task_items=0)


@pytest.fixture(scope="session")
def half_noisy(make_sample) -> Sample:
    return make_sample(items=ITEMS, task_items=4000)


@pytest.fixture(scope="session")
def all_noisy(make_sample) -> Sample:
    return make_sample(items=ITEMS, noise="L2", task_items=0)
