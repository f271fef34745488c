"""SyncedBatchNorm against PyTorch's own, and two ranks against one."""

import os

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch import multiprocessing as mp
from torch.nn.parallel import DistributedDataParallel

from hierarchy_lm.nn.norm import SyncedBatchNorm

WIDTH = 5
DOCUMENTS = 7


def rows(count: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, WIDTH, generator=generator) * 3 + 1


def scaled(norm: nn.BatchNorm1d) -> nn.BatchNorm1d:
    """Other weights than the first ones, which hide a missing scale."""
    with torch.no_grad():
        norm.weight.copy_(torch.linspace(0.5, 2.0, WIDTH))
        norm.bias.copy_(torch.linspace(-1.0, 1.0, WIDTH))
    return norm


def pair() -> tuple[nn.BatchNorm1d, nn.BatchNorm1d]:
    return scaled(SyncedBatchNorm(WIDTH)), scaled(nn.BatchNorm1d(WIDTH))


def test_training_equals_pytorchs():
    """Outputs, all gradients and the running statistics, over steps of varying size."""
    ours, theirs = (norm.double() for norm in pair())
    for step, count in enumerate([16, 2, 3, 9]):
        found_in, expected_in = (rows(count, step).double().requires_grad_() for _ in range(2))
        found, expected = ours(found_in), theirs(expected_in)
        torch.testing.assert_close(found, expected)
        for output in (found, expected):
            (output * torch.linspace(-1, 1, count * WIDTH).view(count, WIDTH)).sum().backward()
        torch.testing.assert_close(found_in.grad, expected_in.grad)
    for name, parameter in theirs.named_parameters():
        torch.testing.assert_close(ours.get_parameter(name).grad, parameter.grad)
    for name, buffer in theirs.named_buffers():
        torch.testing.assert_close(ours.get_buffer(name), buffer, msg=name)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("count", [1, 6])
def test_bfloat16_throughout_is_float32_rounded(training, count):
    """`precision: bf16-true`: the statistics and the weights are bfloat16 too."""
    half, full = scaled(SyncedBatchNorm(WIDTH)).bfloat16(), scaled(SyncedBatchNorm(WIDTH))
    full.load_state_dict({name: value.float() for name, value in half.state_dict().items()})
    values = rows(count).bfloat16()
    found, expected = (
        norm.train(training)(given) for norm, given in ((half, values), (full, values.float()))
    )
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), expected, rtol=0.01, atol=0.01)


def test_evaluation_equals_pytorchs():
    ours, theirs = pair()
    for norm in (ours, theirs):
        norm(rows(20))
        norm.eval()
    torch.testing.assert_close(ours(rows(3, 1)), theirs(rows(3, 1)))
    torch.testing.assert_close(ours(rows(1, 2)), theirs(rows(1, 2)))


def test_statistics_against_numpy():
    norm = SyncedBatchNorm(WIDTH)
    first, second = rows(6).numpy(), rows(4, 1).numpy()
    for batch in (first, second):
        norm(torch.from_numpy(batch))
    mean, variance = np.zeros(WIDTH), np.ones(WIDTH)
    for batch in (first, second):
        mean = 0.9 * mean + 0.1 * batch.mean(axis=0)
        variance = 0.9 * variance + 0.1 * batch.var(axis=0, ddof=1)
    np.testing.assert_allclose(norm.running_mean.numpy(), mean, rtol=1e-5)
    np.testing.assert_allclose(norm.running_var.numpy(), variance, rtol=1e-5)
    assert norm.num_batches_tracked == 2


def test_a_single_document_is_normalised_by_the_running_statistics():
    ours, theirs = pair()
    for norm in (ours, theirs):
        norm(rows(20))
    before = {name: buffer.clone() for name, buffer in ours.named_buffers()}
    alone = rows(1, 5).requires_grad_()
    output = ours(alone)
    torch.testing.assert_close(output, theirs.eval()(rows(1, 5)))
    output.sum().backward()
    expected = ours.weight / torch.sqrt(ours.running_var + ours.eps)
    torch.testing.assert_close(alone.grad[0], expected.detach())
    for name, buffer in ours.named_buffers():
        assert torch.equal(buffer, before[name]), name


def test_repeated_rows_leave_the_statistics_alone():
    ours, _ = pair()
    ours(rows(8))
    before = {name: buffer.clone() for name, buffer in ours.named_buffers()}
    output = ours(rows(2, 1), counted=False)
    torch.testing.assert_close(output, ours.eval()(rows(2, 1)))
    for name, buffer in ours.named_buffers():
        assert torch.equal(buffer, before[name]), name


def test_equal_documents_have_no_variance_and_no_nan():
    norm = SyncedBatchNorm(WIDTH)
    batch = rows(1).expand(3, WIDTH).clone().requires_grad_()
    output = norm(batch)
    output.square().sum().backward()
    # Rounding of the mean, blown up by at most 1 / sqrt(eps) = 316.
    torch.testing.assert_close(output, torch.zeros_like(output), rtol=0, atol=1e-3)
    assert batch.grad.isfinite().all()


def test_under_bf16_autocast_statistics_stay_in_float32():
    """A mean of thousands in bf16 would be off by whole units."""
    ours, theirs = pair()
    batch = (rows(64) + 1000).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = ours(batch)
    expected = theirs(batch.float())
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), expected, rtol=1e-2, atol=1e-2)
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)
    torch.testing.assert_close(ours.running_var, theirs.running_var)
    ours.eval()
    with torch.autocast("cpu", torch.bfloat16):
        found = ours(batch)
    torch.testing.assert_close(found.float(), theirs.eval()(batch.float()), rtol=1e-2, atol=1e-2)


def test_a_checkpoint_of_pytorchs_fits():
    ours, theirs = pair()
    theirs(rows(9))
    ours.load_state_dict(theirs.state_dict())
    torch.testing.assert_close(ours.eval()(rows(4, 1)), theirs.eval()(rows(4, 1)))


class Small(nn.Module):
    """A norm between two layers, so that gradients pass through its statistics."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Linear(WIDTH, WIDTH)
        self.norm = scaled(SyncedBatchNorm(WIDTH))
        self.last = nn.Linear(WIDTH, 1)

    def forward(self, values: Tensor, counted: bool = True) -> Tensor:
        return self.last(torch.tanh(self.norm(self.first(values), counted)))


# How two ranks share the documents of three steps: uneven, one each, and the last rank, which has
# none of its own, repeats the first document with a loss of zero weight.
SHARES = [(slice(0, 2), slice(2, 7)), (slice(0, 1), slice(1, 2)), (slice(0, 3), None)]


def all_steps_alone() -> dict[str, Tensor]:
    model = Small()
    for number, (first, second) in enumerate(SHARES):
        taken = [rows(DOCUMENTS, number)[part] for part in (first, second) if part is not None]
        model(torch.cat(taken)).square().mean().backward()
    return content(model)


def content(model: nn.Module) -> dict[str, Tensor]:
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    return gradients | dict(model.named_buffers())


def leave() -> None:
    """End a rank without tearing Gloo down, which now and then waits for itself for ever."""
    dist.barrier()
    os._exit(0)


def _on_one_rank(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=2)
    torch.set_num_threads(1)
    model = DistributedDataParallel(Small(), broadcast_buffers=False)
    outputs = []
    for number, parts in enumerate(SHARES):
        own = parts[rank]
        total = sum(len(rows(DOCUMENTS)[part]) for part in parts if part is not None)
        values = rows(DOCUMENTS, number)[slice(0, 1) if own is None else own]
        scale = 0.0 if own is None else len(values) * 2 / total
        output = model(values, own is not None)
        (output.square().mean() * scale).backward()
        outputs.append(output.detach())
    torch.save({"content": content(model.module), "outputs": outputs}, f"{folder}/{rank}.pt")
    leave()


@pytest.mark.ddp
def test_two_uneven_ranks_are_one(tmp_path):
    """Outputs, gradients as DDP averages them, and statistics, a repeated document left out."""
    mp.spawn(_on_one_rank, args=(str(tmp_path),), nprocs=2)
    expected = all_steps_alone()
    ranks = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1)]
    for found in ranks:
        for name, tensor in expected.items():
            torch.testing.assert_close(
                found["content"][name], tensor, rtol=1e-4, atol=1e-5, msg=name
            )
    model = Small()
    for number, (first, second) in enumerate(SHARES):
        taken = [rows(DOCUMENTS, number)[part] for part in (first, second) if part is not None]
        together = model(torch.cat(taken)).detach()
        parts = [found["outputs"][number] for found in ranks[: len(taken)]]
        torch.testing.assert_close(torch.cat(parts), together, rtol=1e-4, atol=1e-5)
    repeated = ranks[1]["outputs"][2]
    torch.testing.assert_close(repeated, ranks[0]["outputs"][2][:1], rtol=1e-4, atol=1e-5)


def _global_single(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=2)
    torch.set_num_threads(1)
    model = DistributedDataParallel(Small(), broadcast_buffers=False)
    output = model(rows(1), rank == 0)
    (output.square().mean() * (2.0 if rank == 0 else 0.0)).backward()
    torch.save(content(model.module), f"{folder}/{rank}.pt")
    leave()


@pytest.mark.ddp
def test_a_single_document_on_two_ranks_leaves_the_statistics_alone(tmp_path):
    """No rank waits for a sum that the other never asks for."""
    mp.spawn(_global_single, args=(str(tmp_path),), nprocs=2)
    model = Small()
    model(rows(1)).square().mean().backward()
    for rank in (0, 1):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert found["norm.num_batches_tracked"] == 0
        for name, tensor in content(model).items():
            torch.testing.assert_close(found[name], tensor, rtol=1e-4, atol=1e-5, msg=name)
