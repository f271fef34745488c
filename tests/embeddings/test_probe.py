"""The linear probe, against scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.preprocessing import MultiLabelBinarizer

from hierarchy_lm.batches import SparseTargets
from hierarchy_lm.embeddings import probe as module
from hierarchy_lm.embeddings.probe import STRENGTHS, fit_probe, linear_probe

from .conftest import TREE, documents_of


def soft_problem(rows=60, width=4, classes=3):
    """Rows of which some have two classes."""
    random = np.random.default_rng(5)
    x = random.normal(size=(rows, width))
    pairs = [(row, int(np.argmax(x[row, :classes]))) for row in range(rows)]
    pairs += [(row, (label + 1) % classes) for row, label in pairs[::4]]
    return torch.from_numpy(x).float(), sorted(pairs)


def sklearn_model(x, pairs, strength):
    """Scikit-learn has one class per row: a row of several is repeated with less weight."""
    owners, labels = np.array(pairs).T
    share = 1 / np.bincount(owners)[owners]
    model = LogisticRegression(C=1 / (strength * len(x)), max_iter=10_000, tol=1e-8)
    return model.fit(x.double().numpy()[owners], labels, sample_weight=share)


@pytest.mark.parametrize("strength", [0.1, 0.003])
@pytest.mark.parametrize("block", [1 << 24, 21])  # one block, or seven rows at a time
def test_is_the_multinomial_regression_of_scikit_learn(strength, block, monkeypatch):
    monkeypatch.setattr(module, "BLOCK_NUMBERS", block)
    x, pairs = soft_problem()
    model = sklearn_model(x, pairs, strength)
    found = fit_probe(x, SparseTargets(*torch.tensor(pairs).T.contiguous()), 3, strength)
    probabilities = torch.softmax(x @ found.weight + found.bias, dim=1).numpy()
    assert probabilities == pytest.approx(model.predict_proba(x.double().numpy()), abs=1e-3)
    assert found.predict(x).tolist() == model.predict(x.double().numpy()).tolist()


def test_where_it_begins_does_not_change_where_it_ends():
    x, pairs = soft_problem()
    targets = SparseTargets(*torch.tensor(pairs).T.contiguous())
    cold = fit_probe(x, targets, 3, 0.01)
    warm = fit_probe(x, targets, 3, 0.01, fit_probe(x, targets, 3, 0.1))
    assert torch.allclose(cold.weight, warm.weight, atol=5e-3)


def level_part(documents, sets, level):
    own = [{node for node in nodes if TREE.levels[node] == level} for nodes in sets]
    kept = [row for row, nodes in enumerate(own) if nodes]
    return documents.vectors.double().numpy()[kept], [own[row] for row in kept]


def scores(model, x, gold):
    predicted = [{label} for label in model.predict(x).tolist()]
    binarizer = MultiLabelBinarizer(classes=range(TREE.num_nodes))
    truth, answers = binarizer.fit_transform(gold), binarizer.transform(predicted)
    supported = np.flatnonzero(truth.sum(axis=0))
    micro = f1_score(truth, answers, average="micro")
    macro = f1_score(truth, answers, average=None, zero_division=0)[supported].mean()
    return micro, macro


def test_levels_and_choice_of_the_penalty_equal_scikit_learn(make_documents):
    parts = [make_documents(count, seed) for seed, count in enumerate((150, 60, 80))]
    found = linear_probe(*(documents for documents, _ in parts), TREE)
    assert [one.level for one in found] == [1, 2, 3]
    x = parts[0][0].vectors.double().numpy()
    mean, deviation = x.mean(axis=0), x.std(axis=0, ddof=1)
    for one in found:
        split = [level_part(*part, one.level) for part in parts]
        (train_x, train), (validation_x, validation), (test_x, test) = [
            ((x - mean) / deviation, gold) for x, gold in split
        ]
        pairs = [(row, node) for row, nodes in enumerate(train) for node in sorted(nodes)]
        models = {
            strength: sklearn_model(torch.from_numpy(train_x), pairs, strength)
            for strength in STRENGTHS
        }
        on_validation = {s: scores(m, validation_x, validation)[0] for s, m in models.items()}
        best = max(STRENGTHS, key=on_validation.get)  # the first of equals: the strongest
        assert (one.nodes, one.train, one.test) == (
            len({node for nodes in train for node in nodes}),
            len(train),
            len(test),
        )
        assert one.validation_micro_f1 == pytest.approx(on_validation[best], abs=0.02)
        micro, macro = scores(models[one.strength], test_x, test)
        assert one.micro_f1 == pytest.approx(micro, abs=0.02)
        assert one.macro_f1 == pytest.approx(macro, abs=0.04)
        assert micro > 0.5  # the problem can be learned


def test_a_node_that_training_lacks_counts_as_missed():
    a, b, c = (TREE.node_of(name) for name in "abc")
    vectors = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]])
    train = documents_of([{a}, {a}, {b}, {b}], vectors)
    test = documents_of([{a}, {b}, {c}, {c}], vectors[[0, 2, 1, 3]])
    (roots,) = linear_probe(train, train, test, TREE)
    assert roots.micro_f1 == pytest.approx(2 * 2 / (4 + 4))
    assert roots.macro_f1 == pytest.approx((2 / 3 + 2 / 3 + 0) / 3)
