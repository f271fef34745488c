"""Scores by cosine: the formula, and that near-equal cosines keep their order under autocast."""

import math

import numpy as np
import torch
from torch.nn import functional as F

from hierarchy_lm.nn.match_head import MatchHead


def test_logits_are_scaled_cosines_and_biases():
    torch.manual_seed(0)
    head = MatchHead([1, 3])
    texts, labels = F.normalize(torch.randn(2, 5), dim=1), F.normalize(torch.randn(4, 5), dim=1)
    found = head(texts, labels)
    for row, column in np.ndindex(2, 4):
        bias = 0.0 if column == 0 else -math.log(2)
        cosine = float(np.dot(texts[row].numpy(), labels[column].numpy()))
        assert math.isclose(found[row, column].item(), 20 * cosine + bias, abs_tol=1e-5)


def test_labels_that_are_almost_alike_keep_their_order_in_bfloat16():
    torch.manual_seed(0)
    head = MatchHead([1000])
    middle = torch.randn(1, 200)
    texts = F.normalize(middle + 0.1 * torch.randn(16, 200), dim=1)
    labels = F.normalize(middle + 0.1 * torch.randn(1000, 200), dim=1)
    with torch.autocast("cpu", torch.bfloat16):
        best = head(texts, labels).argmax(dim=1)
    assert best.tolist() == (texts.double() @ labels.double().T).argmax(dim=1).tolist()
