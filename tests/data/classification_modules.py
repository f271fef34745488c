"""DataModules of the classifiers on a small folder, and the labels that its rows have."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from data_modules.batching import BatchOptions
from data_modules.classification import DepartmentDataModule, LeafDataModule
from data_modules.sampling import SamplingOptions
from hierarchy_lm.dataset import PRODUCT_SCHEMA
from hierarchy_lm.text import TextOptions

# Ids:  0 Clothing   1 Shoes
#       2 Clothing/Men   3 Clothing/Women   4 Shoes/Accessories
#       5 Clothing/Men/Accessories   6 Clothing/Men/Shirts   7 Clothing/Women/Shirts
NODES: list[list[int]] = [[5], [6], [7], [4], [0], [2], [], [5, 4], [6, 7], [1], [2, 7]] * 6
TEXT = TextOptions(max_length=16, segments="fields")
BATCH = BatchOptions(tokens=200, documents=6)
TREE_ROOT = {0: 0, 1: 1, 2: 0, 3: 0, 4: 1, 5: 0, 6: 0, 7: 0}
LEAVES = {"Clothing": [5, 6, 7], "Shoes": [4]}


def write(dataset, nodes: list[list[int]], split: str, truth: list[list[int]] | None = None):
    rows = [
        {
            "item_id": f"{split}-{n}",
            "title": f"red cotton shoes {n}",
            "description": "blue" if n % 2 else None,
            "node_ids": ids,
            "weight": 0.5 + n,
        }
        for n, ids in enumerate(nodes)
    ]
    file = dataset.products(rows, f"{split}-00000", row_group_size=10)
    if truth is not None:
        table = pq.read_table(file).append_column(
            "true_node_ids", pa.array(truth, PRODUCT_SCHEMA.field("node_ids").type)
        )
        dataset.write(table, f"{split}-00000")


def write_splits(dataset) -> Path:
    for split in ("train", "validation", "test"):
        write(dataset, NODES, split)
    return dataset.finish()


def make_module(dataset, folder: Path, department: str | None = None, **options):
    settings = {"text": TEXT, "batch": BATCH, "sampling": SamplingOptions()} | options
    source = dataset.vocabulary.source
    if department is None:
        return DepartmentDataModule(str(folder), source, **settings)
    return LeafDataModule(str(folder), department, source, **settings)


def labels_of_rows(loader) -> dict[int, list[int]]:
    """Labels of each row; a row met twice fails."""
    found: dict[int, list[int]] = {}
    for batch in loader:
        for place, row in enumerate(batch.rows.tolist()):
            assert row not in found
            found[row] = batch.targets.labels[batch.targets.documents == place].tolist()
    return found


def expected_labels(department: str | None, nodes=NODES) -> dict[int, list[int]]:
    found = {}
    for row, ids in enumerate(nodes):
        if department is None:
            labels = sorted({TREE_ROOT[node] for node in ids})
        else:
            labels = [at for at, leaf in enumerate(LEAVES[department]) if leaf in ids]
        if labels:
            found[row] = labels
    return found
