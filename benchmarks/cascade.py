"""Cascaded inference over windows against routing inside every batch."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.corpus import token_lengths
from benchmarks.report import Report, Table
from benchmarks.timing import INTERLEAVED, interleave, spread
from hierarchy_lm.backbones import Backbone, BackboneOptions, create_backbone
from hierarchy_lm.batches import TokenBatch
from hierarchy_lm.cascade_folder import CascadeInfo, DepartmentEntry
from hierarchy_lm.classification.leaf_models import LeafModels
from hierarchy_lm.classification.network import ClassifierNetwork
from hierarchy_lm.classification.routing import Candidates, Router, Temperatures
from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.nn import ClassifierHead, HeadOptions, KnowledgeSkip, SkipOptions

VOCABULARY, BATCH, MAX_LENGTH = 30_522, 32, 128


def run(quick: bool) -> Report:
    """Measure 12 departments of 2,500 leaves at MiniLM's size, or tiny ones."""
    departments, leaves, window, rounds = (3, 20, 64, 1) if quick else (12, 2500, 2048, 3)
    torch.manual_seed(0)
    models = Models(departments, leaves, "tiny" if quick else "minilm")
    router = Router(models.first, models, Temperatures(), 1, 1, chunk_tokens=4096)
    in_batches = InBatches(models.first, models, Temperatures(), 1, 1, chunk_tokens=4096)
    items = _items(window, departments)
    by_length = np.argsort([len(ids) for ids in items], kind="stable")
    variants = {
        "window": lambda: _route(router, [items[i] for i in by_length], window),
        "batches of 32": lambda: _route(in_batches, items, BATCH),
    }
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        timings = interleave(variants, rounds)
    with torch.inference_mode():
        (window_found, passed), (batch_found, passed_in_batches) = (
            _counted(models, variant) for variant in variants.values()
        )
    difference = _difference(window_found, batch_found, by_length)
    rows = [
        [
            name,
            f"{window / timings.median(name):.0f}",
            spread(timings.ratios("batches of 32", name), ".2f"),
        ]
        for name in variants
    ]
    notes = [
        f"{departments} departments of {leaves:,} leaves, an encoder each, {window} items; bf16.",
        "The window sorts its items by length, passes all through the department classifier, then "
        "each department's items through its leaf classifier, in batches of similar length and up "
        "to 4,096 tokens. "
        "The other way takes the items as they come, 32 at a time, and routes inside the batch.",
        f"In float32 both choose the same leaves; largest difference of a confidence: "
        f"{difference:.1e}.",
        f"With padding the window passes {passed:,} tokens through the encoders, the batches "
        f"{passed_in_batches:,}, {passed_in_batches / passed:.2f} times as many.",
        INTERLEAVED.format(rounds=rounds),
    ]
    table = Table("Items through a cascade", ["routing", "items/s", "times as fast"], rows)
    return Report("Cascaded inference", notes, [table])


class Models(LeafModels):
    """A cascade with random weights in memory; the first token names the department."""

    def __init__(self, departments: int, leaves: int, backbone: str) -> None:
        paths = [(f"d{d:02d}",) for d in range(departments)]
        paths += [
            (f"d{d:02d}", f"l{leaf:05d}") for d in range(departments) for leaf in range(leaves)
        ]
        entries = [DepartmentEntry(d, f"d{d:02d}", "model", 1, leaves) for d in range(departments)]
        info = CascadeInfo("", "", {}, "", entries)
        super().__init__(Path(), info, Hierarchy.from_paths(paths), memory=1 << 40)
        self.networks = [_network(backbone, leaves) for _ in range(departments)]
        self.first = Routed(_network(backbone, departments), departments)

    def model(self, department: int, device: torch.device) -> ClassifierNetwork:
        """All are resident."""
        return self.networks[department]


class InBatches(Router):
    """What a loader's batches give: every model pads what it gets to the longest of it."""

    def _chunks(self, tokens: TokenBatch) -> list[TokenBatch]:
        longest = int(tokens.attention_mask.sum(dim=1).max())
        return [TokenBatch(*(part[:, :longest] for part in tokens))]


class Routed(nn.Module):
    """A department classifier whose answer is spread evenly, as random weights' would not be."""

    def __init__(self, network: ClassifierNetwork, departments: int) -> None:
        super().__init__()
        self.network = network
        self.departments = departments

    def forward(self, tokens: TokenBatch) -> Tensor:
        """The network's logits, raised where the second token says."""
        logits: Tensor = self.network(tokens)
        chosen = tokens.input_ids[:, 1] % self.departments
        return logits + 20 * torch.nn.functional.one_hot(chosen, self.departments)


def _network(name: str, labels: int) -> ClassifierNetwork:
    options = BackboneOptions(name, pretrained="none", num_segments=3)
    backbone: Backbone = create_backbone(options, VOCABULARY, 0)
    skip = KnowledgeSkip(SkipOptions(), backbone.num_layers, backbone.hidden_size)
    head = ClassifierHead(skip.output_size, labels, HeadOptions())
    nn.init.normal_(head.output.bias)  # else all leaves tie
    return ClassifierNetwork(backbone, skip, head, 1.0).eval().requires_grad_(False)


def _items(count: int, departments: int) -> list[Tensor]:
    random = np.random.default_rng(0)
    lengths = np.minimum(token_lengths(count, random), MAX_LENGTH)
    return [torch.from_numpy(random.integers(5, VOCABULARY, length)) for length in lengths]


def _route(router: Router, items: Sequence[Tensor], size: int) -> Candidates:
    parts = []
    for start in range(0, len(items), size):
        ids = nn.utils.rnn.pad_sequence(list(items[start : start + size]), batch_first=True)
        tokens = TokenBatch(ids, torch.zeros_like(ids), (ids > 0).long())
        parts.append(router.route(tokens))
    return Candidates(*(torch.cat(columns) for columns in zip(*parts, strict=True)))


def _counted(models: Models, variant: Callable[[], Candidates]) -> tuple[Candidates, int]:
    """What a way of routing finds, and the tokens of its passes, padding included."""
    passed = 0

    def count(_: nn.Module, inputs: tuple[TokenBatch]) -> None:
        nonlocal passed
        passed += inputs[0].input_ids.numel()

    networks = [models.first.network, *models.networks]
    hooks = [network.register_forward_pre_hook(count) for network in networks]
    found = variant()
    for hook in hooks:
        hook.remove()
    return found, passed


def _difference(window: Candidates, batches: Candidates, order: np.ndarray) -> float:  # type: ignore[type-arg]
    if not torch.equal(window.leaf, batches.leaf[torch.from_numpy(order)]):
        raise AssertionError("the two ways of routing chose other leaves")
    scores = batches.score[torch.from_numpy(order)]
    return float((window.score - scores).abs().max())
