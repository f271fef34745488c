"""Training steps of several models on the wide tree, timed beside the plain encoder's."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from benchmarks.memory import peak_of_call
from benchmarks.nodes_batch import WideBatch, wide_batch
from benchmarks.timing import Timings, interleave, spread
from hierarchy_lm.backbones import Backbone, BackboneOptions, create_backbone
from hierarchy_lm.optimizers import OptimizerOptions, build_optimizer

PLAIN = "encoder with one output"
HEAD = ["step", "s", "of it optimiser", "times the plain step"]
PLAIN_NOTE = "The plain step trains the same encoder with a linear layer of one output."
GIB = 2**30


class Texts(NamedTuple):
    """How a batch is measured.

    Attributes:
        batch: Documents of a step.
        tokens: Of each document.
        part: Documents that are timed at once: where nothing but the documents costs time, the
            gradient of the batch is the sum over its parts.
        at_once: Documents with which memory is measured.
    """

    batch: int
    tokens: int
    part: int
    at_once: int


class Step(NamedTuple):
    """A training step in two halves."""

    gradient: Callable[[], None]
    update: Callable[[], None]


Make = Callable[[WideBatch, bool], Step]
"""Builds a step for a batch, of a tiny encoder if told so; it must pickle."""


class StepTimes(NamedTuple):
    """Seconds of whole steps, and of the optimiser's part of them."""

    whole: Timings
    updates: Timings


def encoder_options(quick: bool) -> BackboneOptions:
    """MiniLM of random weights, or a tiny encoder."""
    return BackboneOptions("tiny" if quick else "minilm", pretrained="none")


def step_of(backbone: Backbone, model: nn.Module, loss: Callable[[], Tensor]) -> Step:
    """Forward and backward of a loss, and fused AdamW on the model's weights."""
    optimizer = build_optimizer(backbone, model, OptimizerOptions(), fused=True)

    def gradient() -> None:
        optimizer.zero_grad()
        loss().backward()  # type: ignore[no-untyped-call]

    return Step(gradient, optimizer.step)


def plain_step(batch: WideBatch, quick: bool) -> Step:
    """The encoder with a linear layer of one output."""
    return plain_step_of(batch, create_backbone(encoder_options(quick), batch.vocab_size, 0))


def plain_step_of(batch: WideBatch, backbone: Backbone) -> Step:
    """The same with an encoder that others use too."""
    head = nn.Linear(backbone.hidden_size, 1)

    def loss() -> Tensor:
        outputs: Tensor = head(backbone(batch.tokens))
        wanted = outputs.new_zeros(outputs.shape)
        return functional.binary_cross_entropy_with_logits(outputs, wanted)

    return step_of(backbone, nn.ModuleDict({"backbone": backbone, "head": head}), loss)


def time_steps(steps: Mapping[str, Step], texts: Texts, rounds: int) -> StepTimes:
    """Time the steps in turn; gradients of a part are counted as often as the batch has parts."""
    gradients = interleave({name: step.gradient for name, step in steps.items()}, rounds)
    updates = interleave({name: step.update for name, step in steps.items()}, rounds)
    parts = texts.batch // texts.part
    whole = {
        name: [
            parts * own + update
            for own, update in zip(gradients.seconds[name], updates.seconds[name], strict=True)
        ]
        for name in steps
    }
    return StepTimes(Timings(whole), updates)


def peak_of_step(make: Make, texts: Texts, quick: bool) -> int:
    """Peak bytes of a process of its own that makes one step."""
    return peak_of_call(_one_step, make, texts, quick)


def _one_step(make: Make, texts: Texts, quick: bool) -> None:
    step = make(wide_batch(quick, texts.at_once, texts.tokens), quick)
    step.gradient()
    step.update()


def row(name: str, times: StepTimes, peak: int) -> list[str]:
    """Cells under ``HEAD`` and the peak in GiB."""
    seconds = [f"{part.median(name):.2f}" for part in times]
    return [name, *seconds, spread(times.whole.ratios(name, PLAIN), ".3f"), f"{peak / GIB:.2f}"]
