"""Models that several tests look at."""

import torch

from hierarchy_lm.nn import StructuralOptions, StructuralTransformer


def structural_transformer(sizes: list[int], width: int, **changes) -> StructuralTransformer:
    """Small, in eval mode, with weights so large that every dependence shows."""
    torch.manual_seed(0)
    options = StructuralOptions(**{"num_heads": 4, **changes})
    model = StructuralTransformer(sizes, width, options).eval()
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=width**-0.5)
    return model
