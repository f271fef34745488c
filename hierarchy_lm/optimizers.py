"""AdamW with the usual groups and schedules."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR


@dataclass(frozen=True)
class OptimizerOptions:
    """AdamW and its learning-rate schedule.

    Attributes:
        lr: Peak learning rate; the paper's SST recipe is 1e-5.
        head_lr: Peak learning rate of everything but the backbone; by default ``lr``.
        weight_decay: Applied to matrices, not to biases and norms.
        eps: Adam's epsilon; the mean over 10,000 nodes makes gradients small, so keep it small.
        warmup: Share of all optimiser steps during which the rate rises linearly from 0.
        schedule: What follows the warm-up.
    """

    lr: float = 1e-4
    head_lr: float | None = None
    weight_decay: float = 0.01
    eps: float = 1e-8
    warmup: float = 0.02
    schedule: Literal["constant", "linear", "cosine"] = "constant"

    def __post_init__(self) -> None:
        if self.lr <= 0 or (self.head_lr is not None and self.head_lr <= 0):
            raise ValueError(f"optimizer.lr must be positive, got {self.lr}, head {self.head_lr}")
        if not 0 <= self.warmup < 1:
            raise ValueError(f"optimizer.warmup is a share of the steps, got {self.warmup}")


def build_optimizer(
    backbone: nn.Module, module: nn.Module, options: OptimizerOptions, fused: bool
) -> AdamW:
    """AdamW over the module's parameters: backbone and rest, decayed and not.

    Args:
        backbone: Part of ``module`` that learns at ``lr``.
        module: All parameters.
        options: Rates and decay.
        fused: Use the fused kernel, four to five times as fast as the default on a CPU.
    """
    inner = {id(parameter) for parameter in backbone.parameters()}
    head = [parameter for parameter in module.parameters() if id(parameter) not in inner]
    groups = [
        *_decay_groups(backbone.parameters(), options.lr, options.weight_decay),
        *_decay_groups(head, options.head_lr or options.lr, options.weight_decay),
    ]
    return AdamW(groups, lr=options.lr, eps=options.eps, fused=fused)


def _decay_groups(
    parameters: Iterable[nn.Parameter], lr: float, weight_decay: float
) -> list[dict[str, Any]]:
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    matrices = [parameter for parameter in trained if parameter.ndim > 1]
    vectors = [parameter for parameter in trained if parameter.ndim <= 1]
    groups = [(matrices, weight_decay), (vectors, 0.0)]
    return [{"params": group, "lr": lr, "weight_decay": decay} for group, decay in groups if group]


def build_schedule(
    optimizer: torch.optim.Optimizer, options: OptimizerOptions, total_steps: int
) -> LambdaLR:
    """Linear warm-up, then constant, or down to 0 at ``total_steps`` in a line or a cosine."""
    warmup_steps = math.ceil(options.warmup * total_steps)

    def factor(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / warmup_steps
        done = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
        match options.schedule:
            case "constant":
                return 1.0
            case "linear":
                return 1.0 - done
            case "cosine":
                return 0.5 * (1.0 + math.cos(math.pi * done))

    return LambdaLR(optimizer, factor)


def restore_rates(schedule: LambdaLR, groups: list[dict[str, Any]]) -> None:
    """Let the configured rates, decay and epsilon win over those in a resumed optimiser's state.

    With an unchanged configuration every number stays bit-equal.

    Args:
        schedule: The schedule at its restored step; its optimiser is changed.
        groups: ``lr``, ``weight_decay`` and ``eps`` of each parameter group, as configured.
    """
    schedule.base_lrs = [group["lr"] for group in groups]
    scales = [scale(schedule.last_epoch) for scale in schedule.lr_lambdas]
    for restored, group, scale in zip(schedule.optimizer.param_groups, groups, scales, strict=True):
        restored["initial_lr"] = group["lr"]
        restored["lr"] = group["lr"] * scale
        restored["weight_decay"] = group["weight_decay"]
        restored["eps"] = group["eps"]
