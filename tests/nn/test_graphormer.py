"""Biases of tree distances and edge paths against walks in Python; attention against loops."""

import math

import numpy as np
import pytest
import torch

from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.nn.graphormer import NUM_DISTANCES, GraphAttention, Graphormer, TreeBias
from hierarchy_lm.nn.relatives import Relatives


def random_forest(seed: int, count: int, roots: int) -> Hierarchy:
    """Node n hangs below a random earlier one; the first ones are roots."""
    random = np.random.default_rng(seed)
    paths: list[tuple[str, ...]] = []
    for node in range(count):
        above = () if node < roots else paths[int(random.integers(0, node))]
        paths.append((*above, f"n{node}"))
    return Hierarchy.from_paths(paths)


def edges_between(tree: Hierarchy, a: int, b: int) -> list[int]:
    """Lower ends of the edges on the way from a to b; -1 is what all roots hang from."""
    ways = []
    for node in (a, b):
        way = [node]
        while way[-1] >= 0:
            way.append(int(tree.parents[way[-1]]))
        ways.append(way)
    return [node for node in ways[0] if node not in ways[1]] + [
        node for node in ways[1] if node not in ways[0]
    ]


def bias_of(tree: Hierarchy) -> TreeBias:
    torch.manual_seed(1)
    bias = TreeBias(Relatives(tree.parents, tree.level_offsets.tolist())).double()
    with torch.no_grad():
        bias.distance_bias.copy_(torch.randn(NUM_DISTANCES, 1))
        bias.edges.copy_(torch.randn(tree.num_nodes))
    return bias


@pytest.mark.parametrize(("seed", "count", "roots"), [(0, 40, 1), (1, 60, 4), (2, 9, 9), (3, 1, 1)])
def test_bias_is_that_of_walks_from_node_to_node(seed: int, count: int, roots: int):
    tree = random_forest(seed, count, roots)
    bias = bias_of(tree)
    nodes = torch.randperm(count)[: max(1, count * 2 // 3)]
    found = bias(nodes)
    for i, a in enumerate(nodes.tolist()):
        for j, b in enumerate(nodes.tolist()):
            way = edges_between(tree, a, b)
            expected = bias.distance_bias[min(len(way), NUM_DISTANCES - 1), 0].item()
            if way:
                expected += bias.edges[way].mean().item()
            assert found[i, j].item() == pytest.approx(expected, abs=1e-12), (a, b)


def test_longer_distances_share_the_last_bias():
    chains = [tuple(f"{side}{n}" for n in range(12)) for side in "ab"]
    tree = Hierarchy.from_paths(chains)
    bias = bias_of(tree)
    with torch.no_grad():
        bias.edges.zero_()
    ends = torch.tensor(
        [tree.node_of(" > ".join(chain[:depth])) for chain in chains for depth in (8, 12)]
    )
    found = bias(ends)
    assert found[0, 2] == bias.distance_bias[16, 0]
    assert found[1, 3] == found[0, 3] == bias.distance_bias[19, 0]  # 24 and 20 edges


def test_gradient_reaches_the_edges_between_and_no_others():
    tree = Hierarchy.from_paths([("A", "B", "C"), ("A", "D"), ("E",)])
    bias = bias_of(tree)
    c, d = tree.node_of("A > B > C"), tree.node_of("A > D")
    bias(torch.tensor([c, d]))[0, 1].backward()
    assert bias.edges.grad is not None
    shares = {
        tree.paths[n]: round(g, 6) for n, g in enumerate(bias.edges.grad.tolist()) if abs(g) > 1e-9
    }
    assert shares == {"A > B > C": 0.333333, "A > B": 0.333333, "A > D": 0.333333}


def attention_by_loops(layer: GraphAttention, states: torch.Tensor, bias: torch.Tensor):
    """Softmax over nodes of q.k / sqrt(d) + b, head by head, in NumPy."""
    weights = layer.query_key_value.weight.detach().numpy()
    shift = layer.query_key_value.bias.detach().numpy()
    x, b = states.numpy(), bias.numpy()
    count, width = x.shape
    size = width // layer.num_heads
    mixed = np.zeros((count, width))
    for head in range(layer.num_heads):
        parts = []
        for kind in range(3):
            rows = slice(kind * width + head * size, kind * width + (head + 1) * size)
            parts.append(x @ weights[rows].T + shift[rows])
        query, key, value = parts
        for i in range(count):
            scores = [math.exp(query[i] @ key[j] / math.sqrt(size) + b[i, j]) for j in range(count)]
            for j in range(count):
                share = scores[j] / sum(scores)
                mixed[i, head * size : (head + 1) * size] += share * value[j]
    output = layer.output
    return mixed @ output.weight.detach().numpy().T + output.bias.detach().numpy()


def test_attention_is_that_of_loops():
    torch.manual_seed(0)
    layer = GraphAttention(12, 3).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn_like(parameter))
    states, bias = torch.randn(7, 12).double(), torch.randn(7, 7).double()
    expected = attention_by_loops(layer, states, bias)
    np.testing.assert_allclose(layer(states, bias).detach().numpy(), expected, rtol=1e-9)


def graphormer(tree: Hierarchy, num_layers: int) -> Graphormer:
    torch.manual_seed(0)
    relatives = Relatives(tree.parents, tree.level_offsets.tolist())
    return Graphormer(relatives, 8, num_layers, num_heads=2, dropout=0.0)


def test_the_only_layer_is_attention_without_residual():
    tree = random_forest(0, 10, 2)
    graph, nodes = graphormer(tree, 1), torch.tensor([3, 0, 7])
    features = torch.randn(3, 8)
    assert len(graph.layers) == 0
    assert torch.equal(graph(features, nodes), graph.last(features, graph.bias(nodes)))
    with torch.no_grad():
        graph.last.output.weight.zero_()
    assert graph(features, nodes).abs().max() == 0  # a residual would remain


@pytest.mark.parametrize("num_layers", [1, 3])
def test_every_layer_sees_the_tree_and_every_parameter_is_trained(num_layers: int):
    tree = random_forest(0, 30, 2)
    graph, nodes = graphormer(tree, num_layers), torch.arange(30)
    features = torch.randn(30, 8)
    before = graph(features, nodes)
    before.square().sum().backward()
    assert [name for name, p in graph.named_parameters() if p.grad is None] == []
    with torch.no_grad():
        graph.bias.distance_bias.copy_(5 * torch.randn(NUM_DISTANCES, 1))
    assert not torch.allclose(before, graph(features, nodes))


def test_order_of_the_nodes_does_not_matter():
    tree = random_forest(4, 20, 3)
    graph, nodes = graphormer(tree, 2), torch.arange(20)
    features = torch.randn(20, 8)
    order = torch.randperm(20)
    torch.testing.assert_close(
        graph(features, nodes)[order], graph(features[order], nodes[order]), atol=1e-6, rtol=1e-5
    )


@pytest.mark.parametrize("num_layers", [1, 2])
def test_runs_in_bfloat16(num_layers: int):
    tree = random_forest(0, 30, 2)
    graph, nodes = graphormer(tree, num_layers), torch.arange(30)
    features = torch.randn(30, 8)
    with torch.autocast("cpu", torch.bfloat16):
        found = graph(features, nodes)
    torch.testing.assert_close(found.float(), graph(features, nodes), atol=2e-2, rtol=5e-2)
    found.float().sum().backward()
    assert graph.bias.edges.grad is not None
