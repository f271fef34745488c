import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

from hierarchy_lm.batches import SparseTargets
from hierarchy_lm.metrics import LabelF1, LevelF1


def ragged(chosen: np.ndarray) -> SparseTargets:
    return SparseTargets(*torch.nonzero(torch.from_numpy(chosen), as_tuple=True))


def random_case(seed: int, num_documents: int = 40, num_labels: int = 23):
    """Logits and gold; some labels never occur, some are never predicted, some documents empty."""
    random = np.random.default_rng(seed)
    gold = random.random((num_documents, num_labels)) < random.choice([0.0, 0.05, 0.4], num_labels)
    gold[::7] = False
    logits = np.where(gold, 0.6, -0.9) + random.normal(size=gold.shape)
    logits[:, ::5] = -3.0
    return logits.astype(np.float32), gold


def sklearn_scores(predicted: np.ndarray, gold: np.ndarray) -> dict[str, float]:
    supported = np.flatnonzero(gold.any(axis=0))
    return {
        "micro_f1": f1_score(gold, predicted, average="micro", zero_division=0),
        "macro_f1": f1_score(gold, predicted, average="macro", zero_division=0),
        "macro_f1_supported": f1_score(
            gold, predicted, average="macro", labels=supported, zero_division=0
        ),
        "weighted_f1": f1_score(gold, predicted, average="weighted", zero_division=0),
    }


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("as_pairs", [False, True])
def test_scores_equal_scikit_learn_over_several_batches(seed, as_pairs):
    logits, gold = random_case(seed)
    metric = LabelF1(gold.shape[1])
    for rows in (slice(0, 7), slice(7, 8), slice(8, 40)):
        batch = torch.from_numpy(logits[rows])
        predicted = ragged(logits[rows] > 0) if as_pairs else batch
        metric.update(predicted, ragged(gold[rows]))
    scores = {name: value.item() for name, value in metric.compute().items()}
    assert scores == pytest.approx(sklearn_scores(logits > 0, gold), abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_multiclass_scores_equal_scikit_learn(seed):
    random = np.random.default_rng(seed)
    gold, predicted = random.integers(0, 6, 50), random.integers(0, 8, 50)  # labels 8, 9 absent
    documents = torch.arange(50)
    metric = LabelF1(10)
    metric.update(
        SparseTargets(documents, torch.from_numpy(predicted)),
        SparseTargets(documents, torch.from_numpy(gold)),
    )
    scores = metric.compute()
    all_labels = list(range(10))
    for name, average, labels in [
        ("micro_f1", "micro", all_labels),
        ("macro_f1", "macro", all_labels),
        ("macro_f1_supported", "macro", sorted(set(gold))),
        ("weighted_f1", "weighted", all_labels),
    ]:
        expected = f1_score(gold, predicted, average=average, labels=labels, zero_division=0)
        assert scores[name].item() == pytest.approx(expected, abs=1e-6)


def test_hand_computed_scores():
    # Label 0: 1 hit of 2 predictions and 1 positive: 2/3. Label 1: missed once: 0. Label 2: absent.
    predicted = SparseTargets(torch.tensor([0, 1]), torch.tensor([0, 0]))
    targets = SparseTargets(torch.tensor([0, 1]), torch.tensor([0, 1]))
    metric = LabelF1(3)
    metric.update(predicted, targets)
    scores = {name: value.item() for name, value in metric.compute().items()}
    assert scores == pytest.approx(
        {
            "micro_f1": 0.5,
            "macro_f1": 2 / 9,
            "macro_f1_supported": 1 / 3,
            "weighted_f1": 1 / 3,
        }
    )


def test_nothing_gold_and_nothing_predicted_is_zero_not_nan():
    metric = LabelF1(4)
    empty = torch.empty(0, dtype=torch.int64)
    metric.update(torch.full((2, 4), -1.0), SparseTargets(empty, empty))
    assert {value.item() for value in metric.compute().values()} == {0.0}


def test_a_logit_of_exactly_zero_is_no_prediction():
    metric = LabelF1(1)
    metric.update(torch.zeros(1, 1), SparseTargets(torch.tensor([0]), torch.tensor([0])))
    assert metric.compute()["micro_f1"].item() == 0.0


@pytest.mark.parametrize("seed", range(3))
def test_level_scores_equal_scikit_learn_on_the_levels_columns(seed):
    logits, gold = random_case(seed)
    offsets = [0, 3, 11, 23]
    metric = LevelF1(offsets)
    for rows in (slice(0, 25), slice(25, 40)):
        metric.update(torch.from_numpy(logits[rows]), ragged(gold[rows]))
    scores = metric.compute()
    for level, (start, end) in enumerate([(0, 3), (3, 11), (11, 23)], start=1):
        columns = slice(start, end)
        expected = f1_score(
            gold[:, columns], logits[:, columns] > 0, average="micro", zero_division=0
        )
        assert scores.pop(f"micro_f1_L{level}").item() == pytest.approx(expected, abs=1e-6)
    everything = {name: value.item() for name, value in scores.items()}
    assert everything == pytest.approx(sklearn_scores(logits > 0, gold), abs=1e-6)


def test_reset_forgets():
    metric = LevelF1([0, 1, 2])
    hit = SparseTargets(torch.tensor([0]), torch.tensor([0]))
    metric.update(torch.tensor([[1.0, -1.0]]), hit)
    assert metric.compute()["micro_f1_L1"].item() == 1.0
    metric.reset()
    metric.update(torch.tensor([[-1.0, -1.0]]), hit)
    assert metric.compute()["micro_f1_L1"].item() == 0.0


def test_two_ranks_add_up():
    """States are summed over ranks, so two halves must give the whole."""
    logits, gold = random_case(0)
    halves = []
    for rows in (slice(0, 11), slice(11, 40)):
        metric = LabelF1(gold.shape[1])
        metric.update(torch.from_numpy(logits[rows]), ragged(gold[rows]))
        halves.append(metric)
    reduce = halves[0]._reductions["counts"]
    assert reduce is not None
    halves[0].counts = reduce(torch.stack([half.counts for half in halves]))
    halves[0]._computed = None
    scores = {name: value.item() for name, value in halves[0].compute().items()}
    assert scores == pytest.approx(sklearn_scores(logits > 0, gold), abs=1e-6)


def test_memory_grows_with_labels_only():
    metric = LevelF1([0, 10_000, 30_000])
    state = sum(value.numel() * value.element_size() for value in [metric.counts])
    for _ in range(3):
        metric.update(
            torch.zeros(2, 30_000), SparseTargets(torch.tensor([0, 1]), torch.tensor([5, 29_999]))
        )
    assert metric.counts.numel() * metric.counts.element_size() == state == 3 * 30_000 * 8
    assert metric.counts[2].nonzero().flatten().tolist() == [5, 29_999]
