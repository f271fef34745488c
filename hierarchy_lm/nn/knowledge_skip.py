"""Knowledge skip: [CLS] of shallow and deep layers, pooled (DHPC, Section C.1)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class SkipOptions:
    """Which layers' [CLS] the classifier sees, and how they become one vector.

    Attributes:
        layers: ``every_other`` layer up to and with the last (2, 4, ..., 12 of 12), ``all`` (the
            paper's pruned encoders), or a list of layer numbers, the first layer being 1.
        pool: ``mean`` or ``max`` over the layers, their ``concat``, or ``weighted``: a mean with
            learned weights, one per layer.
    """

    layers: Literal["every_other", "all"] | Sequence[int] = "every_other"
    pool: Literal["mean", "max", "concat", "weighted"] = "mean"

    def __post_init__(self) -> None:
        if isinstance(self.layers, str) and self.layers not in ("every_other", "all"):
            raise ValueError(f"skip.layers must be every_other, all or a list, got '{self.layers}'")
        if self.pool not in ("mean", "max", "concat", "weighted"):
            raise ValueError(f"skip.pool must be mean, max, concat or weighted, got '{self.pool}'")


class KnowledgeSkip(nn.Module):
    """Pool the [CLS] states of chosen layers.

    Args:
        options: Layers and pooling.
        num_layers: L, the layers that there are.
        hidden_size: Width k of a state.

    Attributes:
        output_size: k, or k times the chosen layers for ``concat``.

    Shape:
        - input: ``(B, L, k)``, the first layer first
        - output: ``(B, output_size)``

    Raises:
        ValueError: If a listed layer does not exist, or the last one is not listed.
    """

    layers: Tensor

    def __init__(self, options: SkipOptions, num_layers: int, hidden_size: int) -> None:
        super().__init__()
        chosen = _chosen(options.layers, num_layers)
        self.pool = options.pool
        self.register_buffer("layers", torch.tensor(chosen) - 1, persistent=False)
        self.output_size = hidden_size * (len(chosen) if self.pool == "concat" else 1)
        if self.pool == "weighted":
            self.mix = nn.Parameter(torch.zeros(len(chosen)))

    def forward(self, states: Tensor) -> Tensor:
        """Pooled states."""
        chosen = states[:, self.layers]
        match self.pool:
            case "mean":
                return chosen.mean(dim=1)
            case "max":
                return chosen.amax(dim=1)
            case "concat":
                return chosen.flatten(start_dim=1)
            case _:
                return torch.einsum("blk,l->bk", chosen, self.mix.softmax(dim=0).to(chosen.dtype))


def _chosen(layers: str | Sequence[int], num_layers: int) -> list[int]:
    if layers == "every_other":
        return list(range(num_layers, 0, -2))[::-1]
    if layers == "all":
        return list(range(1, num_layers + 1))
    listed = [int(layer) for layer in layers]
    if not listed or len(set(listed)) < len(listed):
        raise ValueError(f"skip.layers must name each layer once, got {listed}")
    wrong = [layer for layer in listed if not 1 <= layer <= num_layers]
    if wrong:
        raise ValueError(f"skip.layers: no layer {wrong[0]}; the encoder has 1 to {num_layers}")
    if num_layers not in listed:
        raise ValueError(
            f"skip.layers lacks the last layer, {num_layers}; to go without the upper layers set "
            "backbone.num_layers"
        )
    return listed
