"""The Relational-GCN against explicit edges, sibling edges among them."""

import numpy as np
import pytest
import torch

from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.nn.relational_gcn import RelationalGCN, RelationalOptions, TreeMeans

from .trees import SMALL, children, random_tree, siblings

TREES = {"small": SMALL, "random": random_tree()}


def states_of(tree: Hierarchy, width: int = 6) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(tree.num_nodes, width, generator=generator, dtype=torch.float64)


def slow_means(tree: Hierarchy, states: np.ndarray) -> list[np.ndarray]:
    relations: list[np.ndarray] = []
    for relation in (
        lambda node: [p for p in [int(tree.parents[node])] if p >= 0],
        lambda node: children(tree, node),
        lambda node: siblings(tree, node),
    ):
        rows = []
        for node in range(tree.num_nodes):
            others = relation(node)
            rows.append(states[others].mean(axis=0) if others else np.zeros(states.shape[1]))
        relations.append(np.stack(rows))
    return relations


def means(tree: Hierarchy, states: torch.Tensor) -> tuple[torch.Tensor, ...]:
    everyone = torch.arange(tree.num_nodes)
    return TreeMeans(tree.parents)(states, everyone, everyone)


@pytest.mark.parametrize("name", TREES)
def test_means_equal_those_over_explicit_edges(name):
    tree = TREES[name]
    states = states_of(tree)
    found = means(tree, states)
    for mean, expected in zip(found, slow_means(tree, states.numpy()), strict=True):
        np.testing.assert_allclose(mean.numpy(), expected, atol=1e-12)


def test_an_only_child_has_no_siblings_to_the_last_bit():
    states = states_of(SMALL).float()
    _, _, found = means(SMALL, states)
    for only in ("A > C > V", "A & Q > D", "A & Q > D > W"):
        assert found[SMALL.node_of(only)].tolist() == [0.0] * 6


def test_layers_are_the_formula():
    tree, options = random_tree(30), RelationalOptions(num_layers=2, width=5, dropout=0.0)
    torch.manual_seed(0)
    gcn = RelationalGCN(tree.parents, 6, options).double()
    weights = {name: value.detach().numpy() for name, value in gcn.named_parameters()}
    features = states_of(tree)
    h = features.numpy() @ weights["inputs.weight"].T + weights["inputs.bias"]
    for layer in range(2):
        w = {k.removeprefix(f"layers.{layer}."): v for k, v in weights.items()}
        total = h @ w["own.weight"].T + w["own.bias"]
        for relation, mean in zip(("parent", "child", "sibling"), slow_means(tree, h), strict=True):
            total = total + mean @ w[f"{relation}.weight"].T
        h = h + np.maximum(total, 0)
        centred = h - h.mean(axis=1, keepdims=True)
        h = centred / np.sqrt(h.var(axis=1, keepdims=True) + 1e-5)
        h = h * w["norm.weight"] + w["norm.bias"]
    np.testing.assert_allclose(gcn(features).detach().numpy(), h, atol=1e-9)


@pytest.mark.parametrize("relation", ["parent", "child", "sibling"])
def test_every_relation_has_weights_of_its_own_that_learn(relation):
    gcn = RelationalGCN(SMALL.parents, 6, RelationalOptions(width=4))
    gcn(states_of(SMALL).float()).square().sum().backward()
    for layer in gcn.layers:
        assert getattr(layer, relation).weight.grad.abs().max() > 0


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_some_nodes_get_the_states_and_gradients_that_they_have_among_all(layers):
    tree = random_tree(80)
    torch.manual_seed(0)
    options = RelationalOptions(num_layers=layers, width=5, dropout=0.0)
    gcn = RelationalGCN(tree.parents, 6, options).double()
    features = states_of(tree)
    for nodes in ([0], [79, 3, 3, 40], list(range(0, 80, 7))):
        results = []
        for states in (gcn(features)[nodes], gcn(features, torch.tensor(nodes))):
            gcn.zero_grad()
            states.square().sum().backward()
            gradients = [parameter.grad.clone() for parameter in gcn.parameters()]
            results.append((states.detach(), gradients))
        torch.testing.assert_close(results[0], results[1])


def test_relatives_are_those_one_edge_or_one_sibling_away():
    tree = random_tree(80)
    for node in range(80):
        near = {node, *children(tree, node), *siblings(tree, node), int(tree.parents[node])} - {-1}
        found = TreeMeans(tree.parents).with_relatives(torch.tensor([node]))
        assert found.tolist() == sorted(near)


def test_sums_are_precise_under_autocast():
    """In bfloat16 a sum over thousands of children would stop growing."""
    tree = Hierarchy.from_paths([("a", f"c{n}") for n in range(3000)])
    states = torch.ones(tree.num_nodes, 2, dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        _, below, beside = means(tree, states)
    assert below[0].tolist() == [1.0, 1.0]
    assert beside[1:].unique().tolist() == [1.0]


def test_sizes_that_are_none_are_refused():
    with pytest.raises(ValueError, match="rgcn"):
        RelationalOptions(num_layers=0)
