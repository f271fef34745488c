"""From the rows of a dataset to the loss: several paths, paths that end early, none."""

import math

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from data_modules.batching import BatchOptions
from data_modules.products import ProductDataModule
from data_modules.wordpiece import train_wordpiece
from hierarchy_lm.backbones import BackboneOptions
from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.nn import StructuralOptions
from hierarchy_lm.pretraining import SSTPretrainer
from hierarchy_lm.text import TextOptions


@pytest.fixture(scope="module")
def tokenizer(shop):
    return str(train_wordpiece(shop, 500))


@pytest.fixture(scope="module")
def batches(shop, tokenizer):
    text, size = TextOptions(max_length=20), BatchOptions(documents=16)
    data = ProductDataModule(str(shop), tokenizer, text, size)
    data.setup("validate")
    return list(data.val_dataloader())


def linked_nodes(shop, tree):
    """Node ids of every validation row, in the order of the shards, each with all above it."""
    rows = []
    for shard in sorted((shop / "products").glob("validation-*.parquet")):
        for nodes in pq.read_table(shard)["node_ids"].to_pylist():
            rows.append({n for node in nodes for n in [node, *tree.ancestors(node)]})
    return rows


def bce_by_level(logits, nodes, tree):
    """SST, Section IV-B, one document in float64: mean over each level's nodes, sum over levels."""
    total = 0.0
    for level in range(tree.depth):
        start, end = tree.level_offsets[level : level + 2]
        terms = [
            -math.log(1 / (1 + math.exp(-z)) if node in nodes else 1 / (1 + math.exp(z)))
            for node, z in enumerate(logits[start:end], start=start)
        ]
        total += float(np.mean(terms))
    return total


def test_loss_of_a_dataset_is_that_of_its_unions_of_paths(shop, tokenizer, batches):
    tree = Hierarchy.from_parquet(shop / "hierarchy.parquet")
    torch.manual_seed(0)
    model = SSTPretrainer(
        str(shop / "hierarchy.parquet"),
        tokenizer,
        BackboneOptions("tiny"),
        StructuralOptions(num_layers=1),
        node_reduction="mean",
    ).eval()
    expected_nodes = linked_nodes(shop, tree)
    kinds = set()
    for batch in batches:
        with torch.no_grad():
            logits = model(batch)
            loss, _ = model.evaluate(batch)
        own = [expected_nodes[row] for row in batch.rows.tolist()]
        by_hand = [
            bce_by_level(row, nodes, tree)
            for row, nodes in zip(logits.double().tolist(), own, strict=True)
        ]
        assert loss.item() == pytest.approx(np.mean(by_hand), rel=1e-5)
        for nodes in own:
            roots = sum(tree.levels[node] == 1 for node in nodes)
            kinds.add("several paths" if roots > 1 else "ends early" if len(nodes) == 1 else "path")
    assert kinds == {"several paths", "ends early", "path"}
