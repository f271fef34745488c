"""Networks on top of an encoder."""

from hierarchy_lm.nn.structural_transformer import StructuralOptions, StructuralTransformer

__all__ = ["StructuralOptions", "StructuralTransformer"]
