import math

import pytest
import torch
from torch.nn import functional as F

from hierarchy_lm.batches import SparseTargets
from hierarchy_lm.losses import sparse_bce
from hierarchy_lm.losses.functional import block_bce


def random_targets(batch_size: int, num_labels: int, share: float, seed: int) -> SparseTargets:
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.rand(batch_size, num_labels, generator=generator) < share
    return SparseTargets(*torch.nonzero(chosen, as_tuple=True))


def pairs(*coordinates: tuple[int, int]) -> SparseTargets:
    documents, labels = torch.tensor(coordinates, dtype=torch.int64).reshape(-1, 2).unbind(1)
    return SparseTargets(documents, labels)


def test_hand_computed_value():
    # sigmoid(ln 3) = 3/4: -ln(3/4) where positive, -ln(1/4) where negative; sigmoid(0) = 1/2.
    logits = torch.tensor([[math.log(3), math.log(3), 0.0, 0.0]])
    expected = (math.log(4 / 3) + math.log(4) + 2 * math.log(2)) / 4
    assert sparse_bce(logits, pairs((0, 0), (0, 2))).item() == pytest.approx(expected)


@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
def test_value_and_gradient_equal_dense_bce(share):
    targets = random_targets(6, 11, share, seed=1)
    logits = (8 * torch.randn(6, 11, generator=torch.Generator().manual_seed(2))).requires_grad_()
    ours = sparse_bce(logits, targets)
    (gradient,) = torch.autograd.grad(ours, logits)
    dense = F.binary_cross_entropy_with_logits(logits, targets.dense(6, 11))
    (expected,) = torch.autograd.grad(dense, logits)
    torch.testing.assert_close(ours, dense)
    torch.testing.assert_close(gradient, expected)


def test_gradcheck_with_unequal_blocks_and_scales():
    targets = random_targets(4, 9, 0.3, seed=3)
    offsets = [0, 2, 3, 9]
    blocks = torch.bucketize(targets.labels, torch.tensor(offsets[1:]), right=True)
    generator = torch.Generator().manual_seed(4)
    scale = torch.rand(4, 3, generator=generator, dtype=torch.float64)
    logits = torch.randn(4, 9, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda z: block_bce(z, targets, blocks, scale, offsets), (logits,)
    )


def test_an_incoming_gradient_scales_ours():
    targets = random_targets(3, 5, 0.4, seed=5)
    logits = torch.randn(3, 5, generator=torch.Generator().manual_seed(6), requires_grad=True)
    (once,) = torch.autograd.grad(sparse_bce(logits, targets), logits)
    (thrice,) = torch.autograd.grad(3 * sparse_bce(logits, targets), logits)
    torch.testing.assert_close(thrice, 3 * once)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("magnitude", [-200.0, 200.0])
def test_extreme_logits_give_a_finite_loss_and_gradient(magnitude, dtype):
    logits = torch.full((2, 3), magnitude, dtype=dtype, requires_grad=True)
    loss = sparse_bce(logits, pairs((0, 0), (0, 1), (0, 2)))
    loss.backward()
    assert loss.dtype is torch.float32
    assert loss.item() == pytest.approx(
        100.0
    )  # one document wrong by 200 on every label, one right
    wrong, right = (0, 1) if magnitude < 0 else (1, 0)
    assert logits.grad is not None
    sign = -1.0 if magnitude < 0 else 1.0
    torch.testing.assert_close(
        logits.grad[wrong].float(), torch.full((3,), sign / 6), rtol=1e-2, atol=0
    )
    assert logits.grad[right].abs().max() == 0


def test_bfloat16_logits_are_summed_in_float32():
    # 30,000 terms of ln 2: a bfloat16 sum would stop growing at 256.
    logits = torch.zeros(1, 30_000, dtype=torch.bfloat16)
    assert sparse_bce(logits, pairs((0, 7))).item() == pytest.approx(math.log(2), rel=1e-5)
