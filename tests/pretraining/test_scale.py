"""A tree of 30,000 nodes on 10 levels: no step may make, or hold, tensors of the naive form.

A method enters every_method.METHODS and MOST_ALIVE with one line each.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from hierarchy_lm.batches import ProductBatch, SparseTargets, TokenBatch
from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.optimizers import build_optimizer
from hierarchy_lm.pretraining import HiMatchPretrainer
from hierarchy_lm.pretraining.base import HierarchyPretrainer

from .every_method import METHODS, make_method
from .memory import MIB, Watch

C, L, B, T, K = 30_000, 10, 64, 12, 32
LEVEL_SIZES = [20, 150, 700, 2000, 4000, 6000, 6500, 5500, 3500, 1630]
# A tensor for the whole batch: B x C (1.9 M) is what the logits are, B x L x C (19.2 M) is not.
LARGEST_TENSOR = min(C * C // 10, B * L * C)
LARGEST_INT64 = B * C
# MiB that may live at once in a training step, its gradients included, and in evaluation. Logits
# (B x C) have 7.3, and a step needs three to eight such; a vector per node 3.7 (C x K), in HiMatch
# 22.9 (C x 200) and in HiAGM 34.3 (C x 300). HGCLR's are the attentions of 1024 labels in 8 heads
# to each other, 32 each. L tensors of vectors per node would be 36.6 more, L of logits 73.
NAIVE = 4 * L * C * K
MOST_ALIVE = {
    "sst": (48, 24),
    "multi_task": (32, 18),
    "multi_label": (36, 24),
    "multi_label_one_path": (36, 24),
    "node_only": (36, 32),
    "node_only_ce": (36, 40),
    "hpt": (44, 26),
    "hpt_sampled": (44, 26),
    "hpt_words": (60, 32),
    "hpt_all_words": (56, 26),
    "hbgl": (40, 28),
    "hbgl_all_labels": (48, 44),
    "himatch": (100, 230),
    "himatch_bce": (615, 230),  # two layers of the graph with all that their backward pass needs
    "himatch_name_cls": (100, 230),
    "hgclr": (180, 24),
    "hgclr_official": (305, 24),
    "hiagm": (380, 175),  # 138 of them gradients
    "conditional_softmax": (70, 60),
    "conditional_sigmoid": (44, 60),
}

Built = tuple[str, HierarchyPretrainer, Watch]


def check(watch: Watch) -> None:
    assert watch.largest[0] < LARGEST_TENSOR, watch.largest[1]
    assert watch.largest_int64[0] < LARGEST_INT64, watch.largest_int64[1]


def check_alive(watch: Watch, most: int) -> None:
    """Within the bound, and near enough to it that naive tensors would not be."""
    assert watch.peak <= most * MIB, f"{watch.peak / MIB:.1f} MiB alive at once"
    assert watch.peak + NAIVE > most * MIB, f"lower the bound: {watch.peak / MIB:.1f} MiB alive"


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


@pytest.fixture(scope="module", params=METHODS)
def built(
    request: pytest.FixtureRequest, tree: Hierarchy, tree_file: str, wordpiece_folder: Path
) -> Iterator[Built]:
    """A method's name, its model, and what was seen while it was made."""
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PL_GLOBAL_SEED", "0")
        patch.setattr(Hierarchy, "from_parquet", lambda _: tree)  # read and checked once
        with Watch() as construction:
            model = make_method(METHODS[request.param], tree_file, str(wordpiece_folder))
        yield request.param, model, construction


def test_the_tree_of_these_tests(tree: Hierarchy, batch: ProductBatch):
    assert tree.level_sizes == LEVEL_SIZES
    assert (tree.num_nodes, tree.depth) == (C, L)
    assert len(batch.targets.labels) > 4 * B
    # The logits pass, a dense form of the targets by level does not.
    assert B * C < LARGEST_TENSOR <= B * L * C


@pytest.mark.parametrize("naive", [(C, C // 10), (B, L, C), (B, C)])
def test_naive_tensors_are_seen_forward_and_backward(naive: tuple[int, ...]):
    """Meta tensors: sizes without memory. (B, C) is one too many as int64 alone."""
    with Watch() as forward:
        torch.zeros(naive, dtype=torch.int64 if naive == (B, C) else None, device="meta")
    with pytest.raises(AssertionError):
        check(forward)
    vector = torch.zeros(naive[-1], device="meta", requires_grad=True)
    total = vector.expand(naive).sum()
    with Watch() as backward:
        (total * 2).backward()
    assert backward.largest[0] < LARGEST_TENSOR  # an expanded gradient has no memory of its own
    product = (vector.expand(naive) * vector).sum()
    with Watch() as backward:
        product.backward()
    assert backward.largest[0] == np.prod(naive)


def test_what_lives_at_once_is_counted_once():
    table = torch.zeros(C, K, device="meta")
    with Watch() as watch:
        for _ in range(L):
            _ = table.T @ table
        alone = watch.peak
        held = [table[:, :1] * table + 1 for _ in range(L)]
        views = [table.T, *(part.view(K, C)[:2].relu_() for part in held)]
    assert alone <= 2 * 4 * K * K  # the last one lives until its successor takes its name
    assert 4 * L * C * K <= watch.peak - 4 * K * K <= 4 * (L + 1) * C * K
    assert watch.alive == 4 * L * C * K + 4 * K * K
    del held, views
    assert watch.alive == 4 * K * K
    with pytest.raises(AssertionError, match="alive at once"):
        check_alive(watch, MOST_ALIVE["multi_label"][0])


@pytest.mark.filterwarnings("ignore:You are trying to `self.log:UserWarning")
def test_a_training_step_makes_and_holds_no_naive_tensors(built: Built, batch: ProductBatch):
    method, model, construction = built
    assert construction.largest[0] < C * C // 10, construction.largest[1]
    optimizer = build_optimizer(model.backbone, model, model.optimizer_options, fused=True)
    model.train()
    with Watch() as step:
        if isinstance(model, HiMatchPretrainer) and model.features.kind == "name_cls":
            model.features.refresh(model.backbone)
        loss = model.training_step(batch, 0)
        loss.backward()
        forward_and_backward = step.peak
        step.peak = step.alive
        optimizer.step()
    check(step)
    gradients = sum(4 * p.numel() for p in model.parameters() if p.requires_grad)
    assert step.peak <= 3 * gradients + MIB  # and AdamW's two moments
    step.peak = forward_and_backward
    check_alive(step, MOST_ALIVE[method][0])
    assert loss.isfinite()
    assert step.largest[0] >= 20 * B  # it saw the step at all
    optimizer.zero_grad()


@pytest.mark.filterwarnings("ignore:You are trying to `self.log:UserWarning")
def test_validation_and_prediction_make_and_hold_no_naive_tensors(
    built: Built, batch: ProductBatch
):
    method, model, _ = built
    model.eval()
    with Watch() as step, torch.no_grad():
        model.validation_step(batch, 0)
        model.predict_step(batch, 0)
    check(step)
    check_alive(step, MOST_ALIVE[method][1])
    assert step.largest[0] >= B * C  # the logits, at least
