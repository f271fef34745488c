"""The closed form of HPT's graph attention against the layer over the whole graph, node by node."""

import pytest
import torch
from torch import Tensor

from hierarchy_lm.nn.prompt_graph import PromptGraph

# A tree of levels 2, 3, 1: parents of the nodes; level nodes are numbered behind them.
PARENTS = [-1, -1, 0, 0, 1, 4]
SIZES = [2, 3, 1]
LEVEL_OF = [0, 0, 1, 1, 1, 2]
WIDTH = 4


def make() -> PromptGraph:
    torch.manual_seed(0)
    graph = PromptGraph(len(SIZES), WIDTH).double().eval()
    with torch.no_grad():
        for parameter in graph.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    return graph


def labels() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(len(PARENTS), WIDTH, dtype=torch.float64, generator=generator)


def edges(kind: str, kept: set[int]) -> set[tuple[int, int]]:
    """Pairs (from, to) of nodes 0 .. 5 and level nodes 6 .. 8, self loops included."""
    first = len(PARENTS)
    found = {(parent, node) for node, parent in enumerate(PARENTS) if parent >= 0}
    found |= {(first + level, node) for node, level in enumerate(LEVEL_OF)}
    if kind == "bidirectional":
        found |= {(end, start) for start, end in found}
    alive = kept | set(range(first, first + len(SIZES)))
    found = {(start, end) for start, end in found if start in alive and end in alive}
    return found | {(node, node) for node in alive}


def whole_layer(graph: PromptGraph, vectors: Tensor, pairs: set[tuple[int, int]]) -> Tensor:
    """Graph attention with one head at every node, then residual and LayerNorm: literally."""
    inputs = torch.cat([vectors, graph.levels])
    mapped = inputs @ graph.map.weight.T
    outputs = []
    for node in range(len(inputs)):
        neighbours = sorted(start for start, end in pairs if end == node)
        if not neighbours:
            outputs.append(inputs[node])
            continue
        scores = torch.stack(
            [graph.target @ mapped[node] + graph.source @ mapped[other] for other in neighbours]
        )
        scores = torch.where(scores > 0, scores, 0.2 * scores).exp()
        weights = scores / scores.sum()
        message = sum(w * mapped[other] for w, other in zip(weights, neighbours, strict=True))
        outputs.append(graph.norm(inputs[node] + message + graph.map.bias))
    return torch.stack(outputs)


def test_prompts_and_their_gradients_are_those_of_the_whole_graph():
    graph, vectors = make(), labels().requires_grad_()
    closed = graph(vectors, SIZES)
    everywhere = whole_layer(graph, vectors, edges("bidirectional", set(range(6))))[6:]
    torch.testing.assert_close(closed, everywhere)
    weights = torch.randn(closed.shape, dtype=torch.float64)
    inputs = [vectors, *graph.parameters()]
    found = torch.autograd.grad((closed * weights).sum(), inputs)
    expected = torch.autograd.grad((everywhere * weights).sum(), inputs)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_prompts_of_sampled_nodes_are_those_of_the_graph_between_them():
    graph, kept = make(), [1, 2, 4, 5]
    closed = graph(labels()[kept], [1, 2, 1])
    expected = whole_layer(graph, labels(), edges("bidirectional", set(kept)))[6:]
    torch.testing.assert_close(closed, expected)


def test_official_edges_leave_a_prompt_its_own_loop():
    graph = make()
    closed = graph(labels()[:0], [0, 0, 0])
    expected = whole_layer(graph, labels(), edges("official", set(range(6))))[6:]
    torch.testing.assert_close(closed, expected)
    other = whole_layer(graph, labels() + 1.0, edges("official", set(range(6))))[6:]
    assert torch.equal(other, expected)  # the official direction tells prompts nothing


def test_a_prompt_changes_with_the_nodes_of_its_level_alone():
    graph = make()
    before = graph(labels(), SIZES)
    for node, level in enumerate(LEVEL_OF):
        changed = labels()
        changed[node] += 1.0
        after = graph(changed, SIZES)
        assert [not torch.equal(after[k], before[k]) for k in range(3)] == [
            k == level for k in range(3)
        ]


def test_dropout_is_on_what_neighbours_say_and_only_in_training():
    graph = make()
    assert torch.equal(graph(labels(), SIZES), graph(labels(), SIZES))
    graph.dropout.p = 1.0
    graph.train()
    alone = graph.norm(graph.levels)
    torch.testing.assert_close(graph(labels(), SIZES), alone)


@pytest.mark.parametrize("sizes", [SIZES, [0, 0, 0]])
def test_every_parameter_has_a_gradient(sizes):
    """DDP stops at one without."""
    graph = make()
    graph(labels()[: sum(sizes)], sizes).square().sum().backward()
    assert [name for name, p in graph.named_parameters() if p.grad is None] == []
