"""No method starts from what the memory happened to hold."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from hierarchy_lm.hierarchy import Hierarchy

from .every_method import METHODS, MORE, make_method

# Names of words, pieces and an unknown word; the shapes of a large tree, in small.
TREE = Hierarchy.from_paths(
    [("w0", "w1", "w2 w3"), ("w0", "w1", "w4"), ("w0", "w5"), ("w6", "w7p1", "w8"), ("unknown",)]
)


@pytest.fixture(autouse=True)
def filled_memory() -> Iterator[None]:
    """Uninitialised memory holds NaN, and the largest number of integers."""
    before = torch.are_deterministic_algorithms_enabled()
    filled = torch.utils.deterministic.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    yield
    torch.use_deterministic_algorithms(before)
    torch.utils.deterministic.fill_uninitialized_memory = filled


def uninitialised(module: nn.Module) -> list[str]:
    """Names of parameters, buffers and tensors beside them that hold such numbers."""
    named = dict(module.named_parameters()) | dict(module.named_buffers())
    for prefix, part in module.named_modules():
        beside = {key: value for key, value in vars(part).items() if isinstance(value, Tensor)}
        named |= {f"{prefix}.{key}": value for key, value in beside.items()}
    return [name for name, value in named.items() if not is_initialised(value)]


def is_initialised(value: Tensor) -> bool:
    if value.is_floating_point():
        return bool(value.isfinite().all())
    return value.dtype == torch.bool or bool((value != torch.iinfo(value.dtype).max).all())


@pytest.mark.parametrize("name", METHODS | MORE)
def test_every_number_of_a_new_model_is_set(name: str, tree_file: str, wordpiece_folder: Path):
    torch.manual_seed(0)
    model = make_method((METHODS | MORE)[name], tree_file, str(wordpiece_folder))
    assert sum(1 for _ in model.parameters()) > 10
    marked = {"cls_spread.hashes", "text_spread.hashes"}  # places that are free, by that integer
    assert set(uninitialised(model)) <= marked


class Forgotten(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fine = nn.Linear(2, 2)
        self.whole = nn.Parameter(torch.empty(3))
        self.part = nn.Parameter(torch.cat([torch.zeros(3), torch.ones(3).new_empty(1)]))
        self.like = nn.Parameter(torch.empty_like(self.whole))
        self.register_buffer("kept", torch.empty(2, 2))
        self.register_buffer("ids", torch.empty(3, dtype=torch.int64), persistent=False)
        self.beside = torch.empty(3)


def test_what_was_forgotten_is_seen():
    found = uninitialised(nn.Sequential(nn.LayerNorm(3), Forgotten()))
    assert sorted(found) == ["1.beside", "1.ids", "1.kept", "1.like", "1.part", "1.whole"]
