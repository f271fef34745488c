import math

import numpy as np
import pytest
import torch

from hierarchy_lm.batches import SparseTargets
from hierarchy_lm.losses import PathLoss

OFFSETS = [0, 2, 5, 9]
LN2 = math.log(2)

# Document 0: two paths down to level 3. Document 1: stops at level 1. Document 2: at level 2.
PAIRS = [(0, 0), (0, 1), (0, 2), (0, 4), (0, 5), (0, 8), (1, 1), (2, 0), (2, 3)]
TARGETS = SparseTargets(*torch.tensor(PAIRS).T.contiguous())


def transcription(logits, node_reduction, weights, mask_missing):
    """SST, Section IV-B, term by term in float64."""
    batch_size = len(logits)
    total = 0.0
    for document in range(batch_size):
        for level in range(3):
            nodes = range(OFFSETS[level], OFFSETS[level + 1])
            positives = [node for node in nodes if (document, node) in PAIRS]
            if mask_missing and not positives:
                continue
            terms = 0.0
            for node in nodes:
                probability = 1.0 / (1.0 + np.exp(-np.float64(logits[document, node])))
                hit = 1.0 if node in positives else 0.0
                terms -= hit * np.log(probability) + (1 - hit) * np.log(1 - probability)
            divisor = {"mean": len(nodes), "sum": 1, "positives": max(1, len(positives))}
            total += weights[level] * terms / divisor[node_reduction]
    return total / batch_size


@pytest.mark.parametrize("node_reduction", ["mean", "sum", "positives"])
@pytest.mark.parametrize("weights", [[1.0, 1.0, 1.0], [0.5, 2.0, 0.0]])
@pytest.mark.parametrize("mask_missing", [False, True])
def test_loss_equals_its_transcription(node_reduction, weights, mask_missing):
    logits = 3 * torch.randn(3, 9, generator=torch.Generator().manual_seed(0))
    loss = PathLoss(OFFSETS, node_reduction, weights, mask_missing)(logits, TARGETS)
    expected = transcription(logits.numpy(), node_reduction, weights, mask_missing)
    assert loss.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("node_reduction", "mask_missing", "expected"),
    [
        # Zero logits: every node costs ln 2.
        pytest.param("mean", False, 3 * LN2, id="one mean per level"),
        pytest.param("sum", False, 9 * LN2, id="all nodes"),
        # Document 0: 2/2 + 3/2 + 4/2; document 1: 2 + 3 + 4; document 2: 2 + 3 + 4.
        pytest.param("positives", False, (4.5 + 9 + 9) / 3 * LN2, id="per positive"),
        # Levels with a node: 3 of document 0, 1 of document 1, 2 of document 2.
        pytest.param("mean", True, 6 / 3 * LN2, id="missing levels masked"),
    ],
)
def test_hand_computed_reductions(node_reduction, mask_missing, expected, dtype):
    logits = torch.zeros(3, 9, dtype=dtype)
    loss = PathLoss(OFFSETS, node_reduction, mask_missing_levels=mask_missing)(logits, TARGETS)
    assert loss.dtype is torch.float32
    assert loss.item() == pytest.approx(expected, rel=1e-6)


def test_gradient_equals_that_of_the_mean_bce_per_level():
    logits = torch.randn(3, 9, generator=torch.Generator().manual_seed(1), requires_grad=True)
    (ours,) = torch.autograd.grad(PathLoss(OFFSETS)(logits, TARGETS), logits)
    dense = TARGETS.dense(3, 9)
    reference = sum(
        torch.nn.functional.binary_cross_entropy_with_logits(logits[:, a:b], dense[:, a:b])
        for a, b in [(0, 2), (2, 5), (5, 9)]
    )
    (expected,) = torch.autograd.grad(reference, logits)
    torch.testing.assert_close(ours, expected)


def test_a_level_without_positives_pushes_all_its_nodes_down():
    logits = torch.zeros(3, 9, requires_grad=True)
    PathLoss(OFFSETS, "sum")(logits, TARGETS).backward()
    assert logits.grad is not None
    # Document 1 stops at level 1: d softplus / dz = 1/2 at 0, over 3 documents.
    torch.testing.assert_close(logits.grad[1, 2:], torch.full((7,), 1 / 6))


def test_masked_levels_get_no_gradient():
    logits = torch.zeros(3, 9, requires_grad=True)
    PathLoss(OFFSETS, mask_missing_levels=True)(logits, TARGETS).backward()
    assert logits.grad is not None
    assert logits.grad[1, 2:].abs().max() == 0
    assert logits.grad[2, 5:].abs().max() == 0
    assert logits.grad[0].abs().min() > 0


@pytest.mark.parametrize("weights", [[1.0, 1.0], [1.0, 1.0, 1.0, 1.0], [1.0, -1.0, 1.0]])
def test_level_weights_must_fit_the_tree(weights):
    with pytest.raises(ValueError, match="3 levels"):
        PathLoss(OFFSETS, level_weights=weights)


def test_no_dense_target_is_made_at_thirty_thousand_nodes():
    """The backward pass allocates the gradient and, level by level, probabilities: two B x C."""
    offsets, batch_size = [0, 1_000, 11_000, 30_000], 32
    logits = torch.zeros(batch_size, 30_000, requires_grad=True)
    targets = SparseTargets(torch.arange(batch_size), torch.arange(batch_size))
    loss = PathLoss(offsets)(logits, targets)
    with torch.profiler.profile(profile_memory=True) as profile:
        loss.backward()
    allocated = sum(max(0, event.self_cpu_memory_usage) for event in profile.events())
    assert allocated < 2.5 * logits.numel() * logits.element_size()
