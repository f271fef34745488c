import math

import pytest
import torch

from hierarchy_lm.nn import StructuralOptions, StructuralTransformer


def test_probabilities_of_a_level_start_at_one_in_sum():
    sizes = [2, 5, 40]
    model = StructuralTransformer(sizes, 16, StructuralOptions(num_layers=1, num_heads=2)).eval()
    with torch.no_grad():
        model.head.weight.zero_()
        logits = model(torch.randn(3, 16))
    for level in logits.sigmoid().split(sizes, dim=1):
        assert level.sum(dim=1).tolist() == pytest.approx([1.0] * 3)
    assert logits[0, -1].item() == pytest.approx(math.log(1 / 39))
