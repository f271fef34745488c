"""Batch normalisation over all documents of a step, wherever they are."""

from collections import deque
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from hierarchy_lm.precision import at_least_float32


class SyncedBatchNorm(nn.Module):
    """BatchNorm whose statistics are those of the documents of all ranks.

    Length-aware batches have few long or many short documents, and ranks share them unequally, so a
    rank's own statistics would depend on how the batch was dealt out. PyTorch's ``SyncBatchNorm``
    does the same on GPUs only. A step with a single document has no variance: it is normalised by
    the running statistics and leaves them alone. All else, the names in the state dict too, is as
    in ``nn.BatchNorm1d``; a subclass of it would be replaced by ``trainer.sync_batchnorm``.

    Args:
        num_features: Width of the rows.
        eps: Added to the variance.
        momentum: Share of a step's statistics in the running ones.

    Shape:
        - input, output: ``(B, num_features)``
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.eps = eps
        self.momentum = momentum
        self.weight = nn.Parameter(torch.ones(num_features))
        self.bias = nn.Parameter(torch.zeros(num_features))
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def forward(self, input: Tensor, counted: bool = True) -> Tensor:
        """Normalise the rows.

        Args:
            input: One row per document.
            counted: False where this rank only repeats a document to keep in step; its rows are
                normalised but leave the statistics alone.
        """
        values = at_least_float32(input)
        if not self.training:
            return self._normalise(values, self.running_mean, self.running_var).to(input.dtype)
        rows = values if counted else values[:0]
        count = _count(rows)
        if count < 2:
            return self._normalise(values, self.running_mean, self.running_var).to(input.dtype)
        mean = _over_ranks(rows.sum(dim=0)) / count
        variance = _over_ranks((rows - mean).square().sum(dim=0)) / count
        self._remember(mean.detach(), variance.detach() * count / (count - 1))
        return self._normalise(values, mean, variance).to(input.dtype)

    def _normalise(self, values: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        mean, variance, weight, bias = (
            part.to(values.dtype) for part in (mean, variance, self.weight, self.bias)
        )
        if not mean.requires_grad:
            return F.batch_norm(values, mean, variance, weight, bias, eps=self.eps)
        return (values - mean) * torch.rsqrt(variance + self.eps) * weight + bias

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics; the variance is the unbiased one, as in PyTorch."""
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
        self.running_var.lerp_(variance.to(self.running_var.dtype), self.momentum)
        self.num_batches_tracked.add_(1)


def _count(rows: Tensor) -> int:
    """Rows of all ranks."""
    if not _several_ranks():
        return len(rows)
    return int(_reduced(rows.new_tensor(float(len(rows)))).item())


def _several_ranks() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def _over_ranks(value: Tensor) -> Tensor:
    """Sum over the ranks, with gradients; the value itself outside of DDP."""
    if not _several_ranks():
        return value
    total: Tensor = _SumOverRanks.apply(value)  # type: ignore[no-untyped-call]
    return total


class _SumOverRanks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:  # noqa: ANN401
        return _reduced(value)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:  # noqa: ANN401
        return _reduced(grad_output)


# If gloo's thread were the last to let go of a tensor that Python has seen, it would wait for the
# interpreter's lock, which the end of the process group holds while it waits for the thread.
_KEPT: deque[Tensor] = deque(maxlen=32)


def _reduced(value: Tensor) -> Tensor:
    total = value.clone()
    dist.all_reduce(total)
    _KEPT.append(total)
    return total.clone()
