"""Batch normalisation over all documents of a step, wherever they are."""

from collections import deque
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.autograd.function import once_differentiable


class SyncedBatchNorm(nn.BatchNorm1d):
    """BatchNorm whose statistics are those of the documents of all ranks.

    Length-aware batches have few long or many short documents, and ranks share them unequally, so a
    rank's own statistics would depend on how the batch was dealt out. PyTorch's ``SyncBatchNorm``
    does the same on GPUs only. A step with a single document has no variance: it is normalised by
    the running statistics and leaves them alone.

    Shape:
        - input, output: ``(B, features)``
    """

    def forward(self, input: Tensor, counted: bool = True) -> Tensor:
        """Normalise the rows.

        Args:
            input: One row per document.
            counted: False where this rank only repeats a document to keep in step; its rows are
                normalised but leave the statistics alone.
        """
        if not self.training:
            return super().forward(input)
        values = input if input.dtype == torch.float64 else input.float()
        rows = values if counted else values[:0]
        count = _over_ranks(values.new_tensor(float(len(rows))))
        if count < 2:
            mean, variance = self.running_mean, self.running_var
            assert mean is not None
            assert variance is not None
        else:
            mean = _over_ranks(rows.sum(dim=0)) / count
            variance = _over_ranks((rows - mean).square().sum(dim=0)) / count
            self._remember(mean.detach(), variance.detach() * count / (count - 1))
        normal = (values - mean) * torch.rsqrt(variance + self.eps)
        output: Tensor = normal * self.weight + self.bias
        return output.to(input.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics; the variance is the unbiased one, as in PyTorch."""
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.momentum is not None
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)


def _over_ranks(value: Tensor) -> Tensor:
    """Sum over the ranks, with gradients; the value itself outside of DDP."""
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        total: Tensor = _SumOverRanks.apply(value)  # type: ignore[no-untyped-call]
        return total
    return value


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
