"""The HiMatch of the tests: a small tree, three documents, and its matching loss in loops."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from hierarchy_lm.backbones import BackboneOptions
from hierarchy_lm.batches import ProductBatch, SparseTargets
from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.losses.matching import Companions, MatchingOptions
from hierarchy_lm.nn.relational_gcn import RelationalOptions
from hierarchy_lm.pretraining import HiMatchPretrainer

from .conftest import MakeDocuments

# Names of one word, so that they are in the hand-made vocabulary.
TREE = Hierarchy.from_paths(
    [("w0", "w1", "w2"), ("w0", "w1", "w3 w7"), ("w0", "w4", "w5"), ("w6", "w8")]
)
GOLD = [[0, 2, 5], [1, 4], [0, 1, 2, 4, 6]]
WIDTH = 12


def make_himatch(
    tree_file: str,
    wordpiece_folder: Path,
    rgcn: RelationalOptions = RelationalOptions(width=WIDTH),
    **options: Any,
) -> HiMatchPretrainer:
    """In evaluation mode, in float64."""
    torch.manual_seed(0)
    backbone = BackboneOptions("tiny", pretrained="none")
    model = HiMatchPretrainer(tree_file, str(wordpiece_folder), backbone, rgcn=rgcn, **options)
    return model.double().eval()


def make_batch(make_documents: MakeDocuments) -> ProductBatch:
    """With the targets of these tests."""
    pairs = [(row, node) for row, nodes in enumerate(GOLD) for node in nodes]
    targets = SparseTargets(*torch.tensor(pairs).T.contiguous())
    return make_documents([3, 8, 11])._replace(targets=targets)


def standardised(features: np.ndarray) -> np.ndarray:
    """Mean 0 and variance 1 over the nodes."""
    return (features - features.mean(axis=0)) / features.std(axis=0)


def steps_between(one: int, other: int) -> int:
    """By the paths alone."""
    a, b = (TREE.paths[node].split(" > ") for node in (one, other))
    common = len([1 for x, y in zip(a, b, strict=False) if x == y])
    return len(a) + len(b) - 2 * common


def slow_matching(
    texts: np.ndarray, labels: np.ndarray, drawn: Companions, options: MatchingOptions
) -> float:
    """HiMatch, equations 7 to 10, one drawn label after the other; mean over documents.

    Args:
        texts: Unit vectors of the documents.
        labels: Of all nodes.
        drawn: Whose loss it is.
        options: Distance and margins.
    """
    per = 1 / texts.shape[1] if options.distance == "mse" else 1
    totals: list[list[float]] = [[] for _ in texts]
    for n, document in enumerate(drawn.documents.tolist()):
        nodes = drawn.nodes[:, n].tolist()
        d = [per * ((texts[document] - labels[node]) ** 2).sum() for node in nodes]
        margins = [options.margin / 2, options.margin]
        if options.margin_mode == "path_distance":
            margins = [
                options.margin * steps_between(nodes[0], node) / (2 * TREE.depth)
                for node in nodes[2:]
            ]
        total = d[0] + max(0, d[1] - per * options.parent_slack)
        total += sum(max(0, d[0] - x + g) for x, g in zip(d[2:], margins, strict=True))
        totals[document].append(total)
    return float(np.mean([np.mean(part) for part in totals]))
