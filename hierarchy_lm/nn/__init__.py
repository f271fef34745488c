"""Networks on top of an encoder."""

from hierarchy_lm.nn.structural_options import StructuralOptions
from hierarchy_lm.nn.structural_transformer import StructuralTransformer

__all__ = ["StructuralOptions", "StructuralTransformer"]
