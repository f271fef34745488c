"""The block against Eq. 1 and 2 of the SST paper, transcribed in NumPy."""

import math

import numpy as np
import pytest
import torch

from hierarchy_lm.nn.block import TransformerBlock
from hierarchy_lm.nn.structural_options import level_mask

HEADS, WIDTH, LEVELS = 2, 8, 4


def attention(states, block, mask):
    """softmax((Q K^T + M) / sqrt(k)) V with M of 0 and -inf, one head and row at a time."""
    weight = block.query_key_value.weight.detach().double().numpy()
    bias = block.query_key_value.bias.detach().double().numpy()
    projected = states @ weight.T + bias
    query, key, value = np.split(projected, 3, axis=1)
    size = WIDTH // HEADS
    mixed = np.zeros_like(states)
    for head in range(HEADS):
        part = slice(head * size, (head + 1) * size)
        for i in range(LEVELS):
            seen = [j for j in range(LEVELS) if mask[i, j]]
            scores = np.array([query[i, part] @ key[j, part] / math.sqrt(size) for j in seen])
            weights = np.exp(scores - scores.max())
            weights /= weights.sum()
            mixed[i, part] = sum(w * value[j, part] for w, j in zip(weights, seen, strict=True))
    return mixed


def layer_norm(states):
    mean = states.mean(axis=1, keepdims=True)
    return (states - mean) / np.sqrt(states.var(axis=1, keepdims=True) + 1e-12)


def gelu(values):
    return np.array([[0.5 * v * (1 + math.erf(v / math.sqrt(2))) for v in row] for row in values])


def linear(states, module):
    weight, bias = (p.detach().double().numpy() for p in (module.weight, module.bias))
    return states @ weight.T + bias


@pytest.mark.parametrize("kind", ["causal", "prev_only", "prev_and_self", "none"])
def test_block_equals_its_transcription(kind):
    torch.manual_seed(0)
    block = TransformerBlock(WIDTH, HEADS, 16, dropout=0.3).eval()
    for parameter in block.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.5)
    states = torch.randn(1, LEVELS, WIDTH)
    mask = level_mask(kind, LEVELS)
    allowed = np.ones((LEVELS, LEVELS), dtype=bool) if mask is None else mask.numpy()

    rows = states[0].double().numpy()
    rows = layer_norm(rows + linear(attention(rows, block, allowed), block.attention_output))
    rows = layer_norm(rows + linear(gelu(linear(rows, block.ffn_input)), block.ffn_output))

    torch.testing.assert_close(
        block(states, mask)[0].double(), torch.from_numpy(rows), rtol=1e-4, atol=1e-5
    )
