"""One step of AdamW: the fused kernel that training uses, against PyTorch's default on a CPU."""

import torch
from torch import nn
from torch.optim import AdamW

from benchmarks.report import Report, Table
from benchmarks.timing import INTERLEAVED, interleave, spread
from hierarchy_lm.backbones import BackboneOptions, create_backbone
from hierarchy_lm.nn import StructuralOptions, StructuralTransformer
from hierarchy_lm.optimizers import OptimizerOptions, build_optimizer

LEVEL_SIZES = [10_000, 20_000]
VOCABULARY = 30_522


def run(quick: bool) -> Report:
    """Measure MiniLM with 30,000 nodes, or a tiny encoder."""
    rounds = 1 if quick else 9
    model = _model("tiny" if quick else "minilm")
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 1e-3)
    optimizers = {"fused (used here)": _optimizer(model, True), "default": _optimizer(model, False)}
    timings = interleave(
        {name: optimizer.step for name, optimizer in optimizers.items()},
        rounds,
        least_seconds=0 if quick else 0.5,
    )
    rows = [
        [name, f"{1000 * timings.median(name):.1f}", spread(timings.ratios("default", name), ".1f")]
        for name in optimizers
    ]
    count = sum(parameter.numel() for parameter in model.parameters())
    notes = [f"{count / 1e6:.1f} million float32 parameters.", INTERLEAVED.format(rounds=rounds)]
    table = Table("A step of AdamW", ["kernel", "ms", "times as fast as the default"], rows)
    return Report("Optimiser step", notes, [table])


def _model(backbone: str) -> nn.ModuleDict:
    encoder = create_backbone(BackboneOptions(backbone, pretrained="none"), VOCABULARY, 0)
    structural = StructuralTransformer(LEVEL_SIZES, encoder.hidden_size, StructuralOptions())
    return nn.ModuleDict({"backbone": encoder, "structural": structural})


def _optimizer(model: nn.ModuleDict, fused: bool) -> AdamW:
    return build_optimizer(model["backbone"], model, OptimizerOptions(), fused)
