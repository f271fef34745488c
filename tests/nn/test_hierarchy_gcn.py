"""The Hierarchy-GCN against dense matrices and loops."""

import numpy as np
import pytest
import torch

from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.nn.hierarchy_gcn import HierarchyGCN, LabelAttention, TextPropagation

from .trees import SMALL, random_tree

WIDTH = 4


def randomised(tree: Hierarchy, **options: object) -> HierarchyGCN:
    gcn = HierarchyGCN(tree.parents, WIDTH, **options).double().eval()
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in gcn.parameters():
            parameter.normal_()
    return gcn


def dense_edges(tree: Hierarchy, gcn: HierarchyGCN) -> tuple[np.ndarray, np.ndarray]:
    """A_in and A_out of the paper, C x C."""
    up, down = (np.zeros((tree.num_nodes, tree.num_nodes)) for _ in range(2))
    edge = 0
    for node, parent in enumerate(tree.parents.tolist()):
        if parent >= 0:
            up[parent, node] = gcn.up[edge].item()
            down[node, parent] = gcn.down[edge].item()
            edge += 1
    assert edge == len(gcn.up) == len(gcn.down)
    return up, down


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def slow(tree: Hierarchy, gcn: HierarchyGCN, h: np.ndarray, relu: bool = True) -> np.ndarray:
    """One document, node by node."""
    up, down = dense_edges(tree, gcn)
    w, b = gcn.gates.detach().numpy(), gcn.gate_bias.detach().numpy()
    e_in, e_out = gcn.up_bias.detach().numpy(), gcn.down_bias.detach().numpy()
    rows = []
    for c in range(tree.num_nodes):
        message = sigmoid(h[c] @ w[:, 0] + b[c, 0]) * (up[c] @ h + e_in[c])
        message = message + sigmoid(h[c] @ w[:, 1] + b[c, 1]) * (down[c] @ h + e_out[c])
        message = message + sigmoid(h[c] @ w[:, 2]) * h[c]
        rows.append(np.maximum(message, 0) if relu else message)
    return np.stack(rows)


@pytest.mark.parametrize("tree", [SMALL, random_tree(), Hierarchy.from_paths([("a",), ("b",)])])
def test_messages_are_those_of_dense_matrices(tree):
    gcn = randomised(tree)
    h = torch.randn(2, 3, tree.num_nodes, WIDTH, dtype=torch.float64)
    with torch.no_grad():
        found = gcn(h).numpy()
    for i, j in np.ndindex(2, 3):
        np.testing.assert_allclose(found[i, j], slow(tree, gcn, h[i, j].numpy()), atol=1e-10)


def test_scores_of_sums_are_those_of_the_dense_features():
    """z_bc = u_b + e_c for every document and node, then every message, then the heads."""
    tree = random_tree()
    gcn = randomised(tree)
    documents, labels, heads = (
        torch.randn(rows, WIDTH, dtype=torch.float64)
        for rows in (5, tree.num_nodes, tree.num_nodes)
    )
    with torch.no_grad():
        found = gcn.scores(documents, labels, heads).numpy()
    for b, u in enumerate(documents.numpy()):
        passed = slow(tree, gcn, u + labels.numpy(), relu=False)
        np.testing.assert_allclose(found[b], (passed * heads.numpy()).sum(axis=1), atol=1e-9)


def test_a_twentieth_of_what_is_passed_on_is_dropped_in_training():
    """HiAGM's rate; without edges a node hears of itself alone."""
    gcn = HierarchyGCN(SMALL.parents, 2000)
    features = torch.rand(SMALL.num_nodes, 2000)
    with torch.no_grad():
        gcn.up.zero_(), gcn.down.zero_()
        whole, dropped = gcn.eval()(features), gcn.train()(features)
    kept = dropped > 0
    torch.testing.assert_close(dropped, kept * whole / 0.95)
    assert 1 - kept.float().mean().item() == pytest.approx(0.05, abs=0.01)


def test_scores_give_every_parameter_a_gradient():
    gcn = HierarchyGCN(SMALL.parents, WIDTH)
    documents, labels, heads = (
        torch.randn(n, WIDTH) for n in (2, SMALL.num_nodes, SMALL.num_nodes)
    )
    gcn.scores(documents, labels, heads).square().sum().backward()
    for name, parameter in gcn.named_parameters():
        assert parameter.grad.abs().max() > 0, name


def test_every_gate_starts_half_open_or_at_its_features():
    """The official code leaves the biases of the outer gates uninitialised."""
    gcn = HierarchyGCN(SMALL.parents, WIDTH)
    assert gcn.gate_bias.count_nonzero() == 0
    assert gcn.gate_bias.shape == (SMALL.num_nodes, 2)
    assert gcn.up_bias.count_nonzero() == gcn.down_bias.count_nonzero() == 0


def test_edges_start_at_one_up_and_even_down():
    paths = [SMALL.paths[node] for node in range(SMALL.num_nodes) if SMALL.parents[node] >= 0]
    gcn = HierarchyGCN(SMALL.parents, WIDTH)
    assert gcn.up.tolist() == [1.0] * len(paths)
    assert dict(zip(paths, gcn.down.tolist(), strict=True)) == pytest.approx(
        {
            "A > B": 1 / 2,
            "A > C": 1 / 2,
            "A & Q > D": 1,
            "A > B > X": 1 / 3,
            "A > B > Y": 1 / 3,
            "A > B > Z": 1 / 3,
            "A > C > V": 1,
            "A & Q > D > W": 1,
        }
    )
    mean = HierarchyGCN(SMALL.parents, WIDTH, children="mean")
    assert torch.equal(mean.up, gcn.down)


def test_prior_is_the_share_among_siblings_and_even_where_nothing_is_known():
    gcn = HierarchyGCN(SMALL.parents, WIDTH)
    counts = {"A": 9, "A > B": 6, "A > C": 2, "A > B > X": 1, "A > B > Y": 3}
    gcn.set_prior(np.array([counts.get(path, 0) for path in SMALL.paths]))
    found = {SMALL.paths[SMALL.level_sizes[0] + n]: x for n, x in enumerate(gcn.down.tolist())}
    assert found == pytest.approx(
        {
            "A > B": 6 / 8,
            "A > C": 2 / 8,
            "A & Q > D": 1,
            "A > B > X": 1 / 4,
            "A > B > Y": 3 / 4,
            "A > B > Z": 0,
            "A > C > V": 1,
            "A & Q > D > W": 1,
        }
    )


def test_text_propagation_gives_every_node_features_of_its_own():
    torch.manual_seed(0)
    module = TextPropagation(SMALL.parents, hidden_size=3, width=WIDTH).double().eval()
    h_cls = torch.randn(2, 3, dtype=torch.float64)
    weight, bias = module.features.weight.detach().numpy(), module.features.bias.detach().numpy()
    with torch.no_grad():
        found = module(h_cls).numpy()
    for b in range(2):
        z = (weight @ h_cls[b].numpy() + bias).reshape(SMALL.num_nodes, WIDTH)
        np.testing.assert_allclose(found[b], slow(SMALL, module.gcn, z).ravel(), atol=1e-12)


def test_label_attention_is_a_mean_over_real_tokens():
    torch.manual_seed(0)
    module = LabelAttention(SMALL.parents, hidden_size=3, width=WIDTH).double().eval()
    states = torch.randn(2, 5, 3, dtype=torch.float64)
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]])
    with torch.no_grad():
        found = module(states, mask).numpy().reshape(2, SMALL.num_nodes, WIDTH)
    labels = slow(SMALL, module.gcn, module.labels.detach().numpy())
    weight, bias = module.features.weight.detach().numpy(), module.features.bias.detach().numpy()
    for b, length in enumerate([5, 2]):
        tokens = states[b, :length].numpy() @ weight.T + bias
        for c in range(SMALL.num_nodes):
            shares = np.exp(tokens @ labels[c])
            expected = (shares / shares.sum()) @ tokens
            np.testing.assert_allclose(found[b, c], expected, atol=1e-10)
