"""A small catalogue with departments of every kind, and a cascade trained on it once."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_modules.manifest import folder_manifest, manifest_fingerprint
from hierarchy_lm.dataset import (
    PRODUCT_SCHEMA,
    SCHEMA_VERSION,
    DatasetInfo,
    read_dataset,
    write_json,
)
from hierarchy_lm.hierarchy import Hierarchy

# One thread, here and in every process that a test starts: sums in one order, runs bit-equal.
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).parents[1]
HLM = Path(sys.executable).with_name("hlm")

# Three departments with a model, under names that a YAML reader would take for something else; one
# with a single leaf, one with hardly any items, one with none.
LEAVES = {
    "Home: Garden": ["Rakes", "Hoses", "Pots", "Seeds"],
    "123": ["Novels", "Atlases", "Comics"],
    'Größe & "Co" #1': ["Boots", "Sandals", "Loafers"],
    "Vouchers": ["Gift Cards"],
    "Rare": ["Stamps", "Coins", "Medals"],
    "Void": ["Nothing", "Nobody"],
}
TRAIN_ITEMS = {
    "Home: Garden": [16, 16, 16, 16],
    "123": [16, 16, 16],
    'Größe & "Co" #1': [16, 16, 16],
    "Vouchers": [24],
    "Rare": [6, 2, 0],
    "Void": [0, 0],
}
NOISE = ["new", "large", "cheap", "grey", "quality", "free", "shipping", "best", "gift", "set"]
WORDS = {name: f"{name.lower()} brand{chr(97 + n)}" for n, name in
         enumerate(leaf for leaves in LEAVES.values() for leaf in leaves)}  # fmt: skip
# What stands behind `--`: small, quick, and enough to learn a word per leaf.
SMALL = [
    "--model.backbone.name=tiny",
    "--model.head.hidden=32",
    "--model.optimizer.lr=0.01",
    "--data.text.max_length=20",
    "--data.batch.documents=16",
    "--trainer.max_epochs=3",
    "--trainer.enable_model_summary=false",
    "--trainer.enable_progress_bar=false",
]


def shop_tree(leaves: dict[str, list[str]] = LEAVES) -> Hierarchy:
    return Hierarchy.from_paths(
        (department, leaf) for department, names in leaves.items() for leaf in names
    )


def item(random: Random, node: int, leaf: str, department: str) -> dict[str, Any]:
    title = [*random.sample(NOISE, 3), *WORDS[leaf].split()]
    if random.random() < 0.15:  # so that not every answer is right
        title = title[:3]
    random.shuffle(title)
    return {
        "title": " ".join(title),
        "description": random.choice([None, f"for {department.lower()}", "as new"]),
        "bullet_points": random.choice([None, [], [random.choice(NOISE), leaf]]),
        "node_ids": [node],
        "weight": random.choice([0.5, 1.0, 2.0]),
    }


def split_rows(tree: Hierarchy, split: str, seed: int) -> list[dict[str, Any]]:
    """Items of all kinds in the order of the tree, then those that need care."""
    random = Random(f"{split}{seed}")
    rows = []
    for department, leaves in LEAVES.items():
        for leaf, train in zip(leaves, TRAIN_ITEMS[department], strict=True):
            node = tree.node_of(f"{department} > {leaf}")
            count = train if split == "train" else -(-train // 3) * (2 if split == "test" else 1)
            rows += [item(random, node, leaf, department) for _ in range(count)]
    garden, rake = tree.node_of("Home: Garden"), tree.node_of("Home: Garden > Rakes")
    care: list[dict[str, Any]] = [
        {"title": "grey rakes", "node_ids": []},
        {"title": "rakes and novels", "node_ids": [rake, tree.node_of("123 > Novels")]},
        {"title": "garden things", "node_ids": [garden]},
    ]
    if split != "train":
        care += [{"node_ids": [rake]}, {"title": " !? 12 ", "bullet_points": [""], "node_ids": []}]
    return rows + care


def write_shop(folder: Path, seed: int = 0) -> Path:
    """The dataset folder; two shards per split, so that parts have seams."""
    tree = shop_tree()
    tree.set_keys({f"k{node:03d}": [node] for node in range(tree.num_nodes) if node % 4})
    (folder / "products").mkdir(parents=True)
    for split in ("train", "validation", "test"):
        rows = [
            {**dict.fromkeys(PRODUCT_SCHEMA.names), "weight": 1.0, "item_id": f"{split}-{n}", **row}
            for n, row in enumerate(split_rows(tree, split, seed))
        ]
        for shard, part in enumerate((rows[::2], rows[1::2])):
            table = pa.Table.from_pylist(part, PRODUCT_SCHEMA)
            pq.write_table(table, folder / "products" / f"{split}-{shard:05d}.parquet")
    tree.to_parquet(folder / "hierarchy.parquet")
    write_json(folder / "dataset.json", DatasetInfo("shop", "by hand", "none", str(seed)))
    return folder


def seal(folder: Path) -> Path:
    """Let ``dataset.json`` list the files as they are now, as if they had been written so."""
    files = folder_manifest(folder)
    info = replace(
        read_dataset(folder),
        fingerprint=manifest_fingerprint(files),
        schema_version=SCHEMA_VERSION,
        files=files,
    )
    write_json(folder / "dataset.json", info)
    return folder


def as_older_release(folder: Path) -> Path:
    """Turn a dataset folder into what schema version 1 was: no list of files, no tree named."""
    for name in folder_manifest(folder):
        table = pq.ParquetFile(folder / name).read().replace_schema_metadata(None)
        columns = [column for column in table.column_names if column != "key"]
        pq.write_table(table.select(columns), folder / name, write_page_checksum=True)
    info = json.loads((folder / "dataset.json").read_text())
    del info["files"], info["hierarchy_fingerprint"]
    info |= {"schema_version": 1, "fingerprint": manifest_fingerprint(folder_manifest(folder))}
    (folder / "dataset.json").write_text(json.dumps(info))
    return folder


def fit_cascade_argv(dataset: Path, output: Path, *options: str, extra: list[str]) -> list[str]:
    config = ROOT / "experiments" / "dhpc.yaml"
    argv = ["fit-cascade", "--config", str(config), f"--dataset={dataset}", f"--output={output}"]
    return [*argv, *options, "--", *SMALL, *extra]


def run_hlm(*args: object, timeout: float = 240) -> tuple[int, str]:
    """The installed command in a process of its own: status, and all that it prints."""
    process = subprocess.run(
        [str(HLM), *map(str, args)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
    )
    return process.returncode, process.stdout


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shop(tmp_path_factory.mktemp("shop") / "shop")


@pytest.fixture(scope="session")
def trained_cascade(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Never written to; `cascade` is a copy."""
    output = tmp_path_factory.mktemp("trained") / "cascade"
    status, out = run_hlm(*fit_cascade_argv(shop, output, extra=[]))
    assert status == 0, out
    (output / "printed.txt").write_text(out)
    return output


@pytest.fixture
def cascade(trained_cascade: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "cascade"
    shutil.copytree(trained_cascade, folder)
    return folder
