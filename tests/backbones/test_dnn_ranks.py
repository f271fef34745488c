"""The DNN on two ranks that share a batch unequally, against one rank that has all of it."""

import os
import time
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch import distributed as dist
from torch import multiprocessing as mp
from torch.nn.parallel import DistributedDataParallel

from hierarchy_lm.backbones import Backbone
from hierarchy_lm.backbones.dnn import DNNConfig, DNNModel
from hierarchy_lm.batches import TokenBatch

DOCUMENTS, FIRST_RANK = 7, 1
"""The first rank has a single document, which alone would have no variance."""


def build() -> Backbone:
    torch.manual_seed(0)
    config = DNNConfig(50, 0, embedding_size=6, hidden_sizes=[8, 5], num_views=2, dropout=0.0)
    config.initializer_range = 0.5
    return Backbone(DNNModel(config))


def tokens(rows: slice) -> TokenBatch:
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(4, 50, (DOCUMENTS, 12), generator=generator)
    segments = (torch.arange(12) > 5).long().expand(DOCUMENTS, 12)
    return TokenBatch(ids[rows], segments[rows], torch.ones_like(ids)[rows])


def step(model: torch.nn.Module, rows: slice, scale: float) -> dict[str, Tensor]:
    """Gradient of the loss' mean over all documents, and the statistics."""
    states = model(tokens(rows))
    weights = torch.arange(1.0, 6.0)
    (scale * (states * weights).pow(2).sum() / DOCUMENTS).backward()
    found = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    return found | {name: buffer.clone() for name, buffer in model.named_buffers()}


def _on_one_rank(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=2)
    torch.set_num_threads(1)
    rows = slice(0, FIRST_RANK) if rank == 0 else slice(FIRST_RANK, DOCUMENTS)
    model = DistributedDataParallel(build(), broadcast_buffers=False)
    torch.save(step(model, rows, scale=2.0), f"{folder}/rank-{rank}.pt")
    Path(f"{folder}/done-{rank}").touch()
    while not Path(f"{folder}/done-{1 - rank}").exists():
        time.sleep(0.01)
    # PyTorch 2.13 can hang when gloo is closed right after a collective inside a backward pass.
    os._exit(0)


@pytest.mark.ddp
@pytest.mark.timeout(60)
def test_gradient_and_statistics_of_two_ranks_are_those_of_one(tmp_path):
    mp.spawn(_on_one_rank, args=(str(tmp_path),), nprocs=2)
    expected = step(build(), slice(0, DOCUMENTS), scale=1.0)
    assert all(tensor.isfinite().all() for tensor in expected.values())
    assert expected["encoder.layers.0.linears.0.weight"].abs().max() > 1e-3
    for rank in (0, 1):
        found = torch.load(tmp_path / f"rank-{rank}.pt", weights_only=True)
        for name, tensor in expected.items():
            torch.testing.assert_close(
                found[f"module.{name}"], tensor, rtol=1e-4, atol=1e-5, msg=name
            )
