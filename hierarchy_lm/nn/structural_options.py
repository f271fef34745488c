"""Size and ablations of the Structural-Transformer."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

LevelMask = Literal["causal", "none", "prev_only", "prev_and_self"]
Projection = Literal["per_level", "none", "shared"]
Readout = Literal["last", "sequential"]

HEAD_SIZE = 64


@dataclass(frozen=True)
class StructuralOptions:
    """The Structural-Transformer (SST, Section IV-A); sizes that the paper leaves open are BERT's.

    Attributes:
        mask: Levels that a level may look at: itself and those above (``causal``, Eq. 1), all
            (``none``, Table III), the one above alone or with itself (Fig. 4, dependency mask).
        projection: Affine maps of [CLS] to the levels' inputs: one per level, one for all, or
            ``none`` (Table III), where position embeddings alone tell the levels apart.
        readout: Each level's state is read after the ``last`` layer, or that of level l after
            layer l (``sequential``, Fig. 4).
        num_layers: By default as many as the tree has levels.
        num_heads: By default one per 64 dimensions of the encoder, or fewer if that does not divide
            them.
        ffn_size: Width inside the feed-forward blocks; by default 4 times the encoder's.
        dropout: On inputs, attention weights and the outputs of both sub-layers.
        use_positions: Add a learned embedding to each level's input.
        share_layers: Use one layer's weights for all layers, as ALBERT does.
    """

    mask: LevelMask = "causal"
    projection: Projection = "per_level"
    readout: Readout = "last"
    num_layers: int | None = None
    num_heads: int | None = None
    ffn_size: int | None = None
    dropout: float = 0.1
    use_positions: bool = True
    share_layers: bool = False

    def layers_for(self, num_levels: int) -> int:
        """Layers over ``num_levels`` levels.

        Raises:
            ValueError: If ``num_layers`` is not positive, or differs from the number of levels
                where level l is read after layer l.
        """
        layers = num_levels if self.num_layers is None else self.num_layers
        if layers < 1:
            raise ValueError(f"structural.num_layers must be at least 1, got {layers}")
        if self.readout == "sequential" and layers != num_levels:
            raise ValueError(
                f"structural.readout: sequential needs one layer per level, got {layers} layers "
                f"for {num_levels} levels; leave structural.num_layers out"
            )
        return layers

    def heads_for(self, hidden_size: int) -> int:
        """Attention heads at a width.

        Raises:
            ValueError: If they do not divide it.
        """
        if self.num_heads is None:
            most = max(1, hidden_size // HEAD_SIZE)
            return next(heads for heads in range(most, 0, -1) if hidden_size % heads == 0)
        heads = self.num_heads
        if heads < 1 or hidden_size % heads:
            raise ValueError(
                f"structural.num_heads: {heads} heads do not divide the encoder's width "
                f"{hidden_size}; give a divisor"
            )
        return heads


def level_mask(kind: LevelMask, num_levels: int) -> Tensor | None:
    """Which level (row) may look at which (column), True where it may; None if all may.

    ``prev_only`` leaves out the level itself, which the residual connection still carries; the
    first level, with none above, looks at itself.
    """
    everything = torch.ones(num_levels, num_levels, dtype=torch.bool)
    match kind:
        case "none":
            return None
        case "causal":
            return everything.tril()
        case "prev_and_self":
            return everything.tril() & everything.triu(-1)
        case "prev_only":
            allowed = everything.tril(-1) & everything.triu(-1)
            allowed[0, 0] = True
            return allowed
