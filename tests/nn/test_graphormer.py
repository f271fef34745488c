"""Biases of tree distances and edge paths against walks in Python; attention against loops."""

import math

import numpy as np
import pytest
import torch

from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.nn.block import TransformerBlock
from hierarchy_lm.nn.graphormer import NUM_DISTANCES, Graphormer, TreeBias
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


def graphormer(tree: Hierarchy, num_layers: int) -> Graphormer:
    torch.manual_seed(0)
    relatives = Relatives(tree.parents, tree.level_offsets.tolist())
    return Graphormer(relatives, 8, num_layers, num_heads=2, dropout=0.0)


def layer_by_loops(layer: TransformerBlock, states: torch.Tensor, bias: torch.Tensor):
    """LayerNorm of x + softmax over nodes of (q.k / sqrt(d) + b), head by head, in NumPy."""
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
    output, norm = layer.attention_output, layer.attention_norm
    total = x + mixed @ output.weight.detach().numpy().T + output.bias.detach().numpy()
    centred = total - total.mean(axis=1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-12)
    return scaled * norm.weight.detach().numpy() + norm.bias.detach().numpy()


def test_the_last_layer_is_that_of_loops_and_has_no_feed_forward():
    tree, nodes = random_forest(0, 10, 2), torch.tensor([3, 0, 7, 9])
    graph = graphormer(tree, 1).double()
    with torch.no_grad():
        for parameter in graph.parameters():
            parameter.copy_(torch.randn_like(parameter))
    features = torch.randn(4, 8).double()
    expected = layer_by_loops(graph.layers[0], features, graph.bias(nodes).detach())
    np.testing.assert_allclose(graph(features, nodes).detach().numpy(), expected, rtol=1e-9)
    assert [name for name, _ in graph.layers[0].named_parameters() if "ffn" in name] == []


def test_an_untrained_layer_does_not_make_all_nodes_one():
    """Attention alone would: with weights this small it is the mean over all nodes."""
    tree, nodes = random_forest(0, 40, 2), torch.arange(40)
    features = torch.randn(40, 8)
    states = graphormer(tree, 1)(features, nodes)
    assert (states - states.mean(dim=0)).norm() > 0.8 * states.norm()


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
