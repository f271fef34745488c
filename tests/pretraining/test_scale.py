"""A tree of 30,000 nodes on 10 levels: no method may make a tensor of the size of the naive form.

A method enters METHODS with one line. `Largest` sees every tensor of a step, forward and backward.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from hierarchy_lm.backbones import BackboneOptions
from hierarchy_lm.batches import ProductBatch, SparseTargets, TokenBatch
from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.pretraining import (
    ConditionalPretrainer,
    HBGLPretrainer,
    HGCLRPretrainer,
    HiAGMPretrainer,
    HiMatchPretrainer,
    HPTPretrainer,
    MultiLabelPretrainer,
    MultiTaskPretrainer,
    NodeOnlyPretrainer,
    SSTPretrainer,
)
from hierarchy_lm.pretraining.base import HierarchyPretrainer

C, L, B, T = 30_000, 10, 64, 12
LEVEL_SIZES = [20, 150, 700, 2000, 4000, 6000, 6500, 5500, 3500, 1630]
# A tensor for the whole batch: B x C (1.9 M) is what the logits are, B x L x C (19.2 M) is not.
LARGEST_TENSOR = min(C * C // 10, B * L * C)
LARGEST_INT64 = B * C
SMALL = BackboneOptions("tiny", pretrained="none")

Make = Callable[[str, str], HierarchyPretrainer]
METHODS: dict[str, Make] = {
    "sst": lambda tree, tokenizer: SSTPretrainer(tree, tokenizer, SMALL),
    "multi_task": lambda tree, tokenizer: MultiTaskPretrainer(tree, tokenizer, SMALL),
    "multi_label": lambda tree, tokenizer: MultiLabelPretrainer(tree, tokenizer, SMALL),
    "node_only": lambda tree, tokenizer: NodeOnlyPretrainer(tree, tokenizer, SMALL),
    "hpt": lambda tree, tokenizer: HPTPretrainer(tree, tokenizer, SMALL),
    "hpt_sampled": lambda tree, tokenizer: HPTPretrainer(
        tree, tokenizer, SMALL, sample_per_level=500
    ),
    "hbgl": lambda tree, tokenizer: HBGLPretrainer(tree, tokenizer, SMALL),
    "hbgl_all_labels": lambda tree, tokenizer: HBGLPretrainer(
        tree, tokenizer, SMALL, restrict_level=False, stop_rule="official"
    ),
    "himatch": lambda tree, tokenizer: HiMatchPretrainer(tree, tokenizer, SMALL),
    "himatch_bce": lambda tree, tokenizer: HiMatchPretrainer(
        tree, tokenizer, SMALL, cls_weight=1.0
    ),
    "hgclr": lambda tree, tokenizer: HGCLRPretrainer(tree, tokenizer, SMALL),
    "hiagm": lambda tree, tokenizer: HiAGMPretrainer(tree, tokenizer, SMALL),
    "conditional_softmax": lambda tree, tokenizer: ConditionalPretrainer(tree, tokenizer, SMALL),
    "conditional_sigmoid": lambda tree, tokenizer: ConditionalPretrainer(
        tree, tokenizer, SMALL, activation="sigmoid"
    ),
}


class Largest(TorchDispatchMode):
    """Remembers the largest tensor that any operation made; views count as what they look at."""

    def __init__(self) -> None:
        super().__init__()
        self.any: tuple[int, str] = (0, "nothing")
        self.int64: tuple[int, str] = (0, "nothing")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        outputs = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(outputs):
            if isinstance(tensor, Tensor):
                self._see(tensor, f"{func} {tuple(tensor.shape)}")
        return outputs

    def _see(self, tensor: Tensor, what: str) -> None:
        # An expanded tensor has more elements than its storage, a slice fewer.
        stored = tensor.untyped_storage().nbytes() // tensor.element_size()
        size = min(tensor.numel(), stored)
        self.any = max(self.any, (size, what))
        if tensor.dtype == torch.int64:
            self.int64 = max(self.int64, (size, what))

    def check(self) -> None:
        assert self.any[0] < LARGEST_TENSOR, self.any[1]
        assert self.int64[0] < LARGEST_INT64, self.int64[1]


@pytest.fixture(scope="module")
def tree() -> Hierarchy:
    """Every node but a root below a random one of the level above, named by two words."""
    random = np.random.default_rng(0)
    paths: list[tuple[str, ...]] = []
    above: list[tuple[str, ...]] = [()]
    for size in LEVEL_SIZES:
        parents = random.integers(0, len(above), size).tolist()
        # The number tells siblings apart: "w3 w17" is 3 * 20 + 17, with as many words as it needs.
        above = [(*above[parent], _words(number)) for number, parent in enumerate(parents)]
        paths += above
    return Hierarchy.from_paths(paths)


def _words(number: int) -> str:
    digits = [number % 20]
    while number := number // 20:
        digits.append(number % 20)
    return " ".join(f"w{digit}" for digit in digits)


@pytest.fixture(scope="module")
def tree_file(tree: Hierarchy, tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("scale") / "hierarchy.parquet"
    tree.to_parquet(file)
    return str(file)


@pytest.fixture(scope="module")
def batch(tree: Hierarchy) -> ProductBatch:
    """B padded documents with 1 to 3 paths, some of which end above the leaves."""
    random = np.random.default_rng(1)
    counts = 1 + np.arange(B) % 3
    ends = random.choice(C, int(counts.sum()), replace=False).astype(np.int32)
    labels, offsets = tree.close(ends, np.concatenate([[0], np.cumsum(counts)]))
    documents = np.repeat(np.arange(B), np.diff(offsets))
    ids = torch.from_numpy(random.integers(5, 40, (B, T)))
    lengths = torch.from_numpy(random.integers(T // 2, T + 1, B))[:, None]
    places = torch.arange(T)
    ids = ids.masked_fill(places >= lengths, 0).masked_fill(places == lengths - 1, 3)
    ids[:, 0] = 2
    tokens = TokenBatch(ids, torch.zeros_like(ids), (places < lengths).long())
    targets = SparseTargets(torch.from_numpy(documents), torch.from_numpy(labels).long())
    return ProductBatch(tokens, targets, torch.arange(B), torch.ones(B), 1.0)


@pytest.fixture
def make(
    tree: Hierarchy, tree_file: str, wordpiece_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], HierarchyPretrainer]:
    def build(method: str) -> HierarchyPretrainer:
        torch.manual_seed(0)
        monkeypatch.setattr(Hierarchy, "from_parquet", lambda _: tree)  # read and checked once
        return METHODS[method](tree_file, str(wordpiece_folder))

    return build


def test_the_tree_of_these_tests(tree: Hierarchy, batch: ProductBatch):
    assert tree.level_sizes == LEVEL_SIZES
    assert (tree.num_nodes, tree.depth) == (C, L)
    assert len(batch.targets.labels) > 4 * B
    # The logits pass, a dense form of the targets by level does not.
    assert B * C < LARGEST_TENSOR <= B * L * C


@pytest.mark.parametrize("naive", [(C, C // 10), (B, L, C), (B, C)])
def test_naive_tensors_are_seen_forward_and_backward(naive: tuple[int, ...]):
    """Meta tensors: sizes without memory. (B, C) is one too many as int64 alone."""
    with Largest() as forward:
        torch.zeros(naive, dtype=torch.int64 if naive == (B, C) else None, device="meta")
    with pytest.raises(AssertionError):
        forward.check()
    vector = torch.zeros(naive[-1], device="meta", requires_grad=True)
    total = vector.expand(naive).sum()
    with Largest() as backward:
        (total * 2).backward()
    assert backward.any[0] < LARGEST_TENSOR  # an expanded gradient has no memory of its own
    product = (vector.expand(naive) * vector).sum()
    with Largest() as backward:
        product.backward()
    assert backward.any[0] == np.prod(naive)


@pytest.mark.filterwarnings("ignore:You are trying to `self.log:UserWarning")
@pytest.mark.parametrize("method", METHODS)
def test_a_training_step_makes_no_naive_tensor(
    method: str, make: Callable[[str], HierarchyPretrainer], batch: ProductBatch
):
    with Largest() as construction:
        model = make(method).train()
    assert construction.any[0] < C * C // 10, construction.any[1]
    with Largest() as step:
        loss = model.training_step(batch, 0)
        loss.backward()
    step.check()
    assert loss.isfinite()
    assert step.any[0] >= 20 * B  # it saw the step at all


@pytest.mark.filterwarnings("ignore:You are trying to `self.log:UserWarning")
@pytest.mark.parametrize("method", METHODS)
def test_validation_and_prediction_make_no_naive_tensor(
    method: str, make: Callable[[str], HierarchyPretrainer], batch: ProductBatch
):
    model = make(method).eval()
    with Largest() as step, torch.no_grad():
        model.validation_step(batch, 0)
        model.predict_step(batch, 0)
    step.check()
    assert step.any[0] >= B * C  # the logits, at least
