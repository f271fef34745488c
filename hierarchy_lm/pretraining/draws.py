"""Random numbers as a pure function of seed, epoch, row and position.

No generator is involved: a counter-based hash gives every position its own numbers, so they do not
depend on the batch, the rank or the worker that a document is in, nor on where a run was resumed.
"""

import torch
from torch import Tensor

UNIFORM_BITS = 24
"""Resolution of a draw: what float32 holds exactly."""


def random_bits(rows: Tensor, length: int, seed: int, epoch: int) -> Tensor:
    """64 random bits for each of the first ``length`` positions of each row, ``(B, length)``.

    SplitMix64 steps (Steele et al., 2014) over seed, epoch, row and position, in wrapping
    64-bit integers: the same on every device.
    """
    key = mix(mix(torch.tensor(seed, device=rows.device)) + epoch)
    keys = mix(key + rows)
    return mix(keys[:, None] + torch.arange(length, device=rows.device))


def mix(values: Tensor) -> Tensor:
    """One SplitMix64 step: add the golden ratio, then scramble all bits."""
    values = values + _signed(0x9E3779B97F4A7C15)
    values = (values ^ _shift(values, 30)) * _signed(0xBF58476D1CE4E5B9)
    values = (values ^ _shift(values, 27)) * _signed(0x94D049BB133111EB)
    return values ^ _shift(values, 31)


def _shift(values: Tensor, count: int) -> Tensor:
    """Shift right without the sign, which torch's own shift drags along."""
    return (values >> count) & ((1 << (64 - count)) - 1)


def _signed(constant: int) -> int:
    return constant - (1 << 64)


def uniform(bits: Tensor) -> Tensor:
    """Numbers in [0, 1) from the upper bits."""
    return _shift(bits, 64 - UNIFORM_BITS).float() * 2.0**-UNIFORM_BITS
