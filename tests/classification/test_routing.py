"""A window of items answers as each item alone, and as a slow version of the cascade."""

import gc

import pytest
import torch

from hierarchy_lm.classification import Cascade
from hierarchy_lm.classification.network import ClassifierNetwork

from .conftest import Oracle, answer, answers_of, edit_entry, prefer, windows

MODELS = 3


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for row, one in found.items():
        other = expected[row]
        assert one["best"][:2] == other["best"][:2], row
        assert one["best"] == pytest.approx(other["best"], abs=1e-5)
        assert one["decision"] == other["decision"]
        assert [a[:2] for a in one["alternatives"]] == [a[:2] for a in other["alternatives"]]
        for mine, theirs in zip(one["alternatives"], other["alternatives"], strict=True):
            assert mine == pytest.approx(theirs, abs=1e-5)


def assert_agrees_with_oracle(folder, batches, beam, alternatives=5, **options):
    oracle = Oracle(folder)
    found = answer(folder, batches, top_departments=beam, alternatives=alternatives, **options)
    for batch in batches:
        for n, row in enumerate(batch.rows.tolist()):
            expected, department = oracle.candidates(batch, n, beam)
            kept = found[row]["alternatives"]
            assert len(kept) == min(alternatives, len(expected)), row
            for (d, leaf, p_d, p_leaf), (score, *rest) in zip(kept, expected, strict=False):
                assert p_d * p_leaf == pytest.approx(score, abs=1e-5)
                if expected.count((score, *rest)) == 1 and score > 1e-3:
                    assert (d, leaf) == tuple(rest[:2]), row
                assert [p_d, p_leaf] == pytest.approx(rest[2:], abs=1e-5)
            empty = int(batch.tokens.attention_mask[n].sum()) == 2
            best = found[row]["best"]
            if empty or not expected:
                assert best[1] == -1
                assert best[3:5] == [0, 0]
            else:
                assert best[:2] == list(expected[0][1:3])
                assert best[4] == pytest.approx(expected[0][0], abs=1e-5)
            if not expected:
                assert best[0] == department


def test_one_window_answers_as_windows_of_one_item(trained_cascade, shop):
    together = answer(trained_cascade, windows(shop, trained_cascade))
    alone = answer(trained_cascade, windows(shop, trained_cascade, window=1))
    assert len(windows(shop, trained_cascade)) == 1
    assert len(windows(shop, trained_cascade, window=1)) == len(together)
    assert_same(together, alone)
    assert (
        len({one["best"][0] for one in together.values()}) >= MODELS
    )  # there is something to route


@pytest.mark.parametrize("chunk_tokens", [1, 50, 10**9])
def test_size_of_a_forward_pass_changes_no_answer(trained_cascade, shop, chunk_tokens):
    batches = windows(shop, trained_cascade, window=40)
    found = answer(trained_cascade, batches, chunk_tokens=chunk_tokens, top_departments=2)
    assert_same(found, answer(trained_cascade, batches, top_departments=2))


def test_chunks_keep_to_their_budget_and_lose_no_row(trained_cascade, shop):
    (batch,) = windows(shop, trained_cascade)
    lengths = batch.tokens.attention_mask.sum(dim=1)
    shuffled = torch.randperm(len(lengths), generator=torch.Generator().manual_seed(0))
    for order in (torch.arange(len(lengths)), shuffled):
        tokens = type(batch.tokens)(*(part[order] for part in batch.tokens))
        chunks = Cascade(str(trained_cascade), chunk_tokens=64).router._chunks(tokens)
        assert all(part.input_ids.numel() <= 64 for part in chunks)
        rows = [
            row[mask.bool()].tolist()
            for part in chunks
            for row, mask in zip(part.input_ids, part.attention_mask, strict=True)
        ]
        expected = [
            row[mask.bool()].tolist()
            for row, mask in zip(tokens.input_ids, tokens.attention_mask, strict=True)
        ]
        assert rows == expected


@pytest.mark.parametrize("beam", [1, 2, 3, 6, 99])
def test_agrees_with_asking_every_leaf_of_the_best_departments(trained_cascade, shop, beam):
    assert_agrees_with_oracle(trained_cascade, windows(shop, trained_cascade, window=50), beam)


@pytest.mark.parametrize("alternatives", [1, 2, 30])
def test_any_number_of_alternatives(trained_cascade, shop, alternatives):
    batches = windows(shop, trained_cascade, window=50)
    assert_agrees_with_oracle(trained_cascade, batches, 6, alternatives)


@pytest.mark.parametrize("department", ["Rare", "Void", "Vouchers", "123"])
@pytest.mark.parametrize("beam", [1, 2])
def test_every_kind_of_department_can_be_the_best(cascade, shop, department, beam):
    oracle = Oracle(cascade)
    prefer(cascade, oracle.tree.department(department))
    edit_entry(cascade, "123", status="failed", checkpoint=None, reason="killed")
    assert_agrees_with_oracle(cascade, windows(shop, cascade, window=50), beam)


def test_alternatives_are_sorted_and_distinct_and_lie_below_their_department(trained_cascade, shop):
    tree = Oracle(trained_cascade).tree
    batches = windows(shop, trained_cascade)
    found = answer(trained_cascade, batches, top_departments=4, alternatives=9)
    for one in found.values():
        scores = [p_d * p_leaf for _, _, p_d, p_leaf in one["alternatives"]]
        leaves = [leaf for _, leaf, _, _ in one["alternatives"]]
        assert scores == sorted(scores, reverse=True)
        assert len(set(leaves)) == len(leaves) > 1
        for department, leaf, _, _ in one["alternatives"]:
            assert tree.is_leaf[leaf]
            assert [*tree.ancestors(leaf), leaf][0] == department


def test_without_room_one_model_is_loaded_at_a_time(trained_cascade, shop):
    batches = windows(shop, trained_cascade, window=50)
    options = {"top_departments": 6}
    roomy, tight = (
        Cascade(str(trained_cascade), memory_mib=memory, **options).eval() for memory in (1000, 0)
    )
    expected, found = answers_of(roomy, batches), answers_of(tight, batches)
    assert_same(found, expected)
    assert roomy.leaf_models.loads == MODELS
    assert tight.leaf_models.loads == MODELS * len(batches)
    assert len(batches) > 2
    del roomy
    gc.collect()
    alive = [thing for thing in gc.get_objects() if type(thing) is ClassifierNetwork]
    assert len([model for model in alive if model is not tight.departments]) == 1


def test_least_recently_used_model_goes_first(trained_cascade, shop):
    module = Cascade(str(trained_cascade))
    models, device = module.leaf_models, torch.device("cpu")
    sizes = [models.model(node, device).num_bytes for node in range(MODELS)]
    assert models.resident_bytes == sum(sizes)
    models.memory = sum(sizes) - 1
    models.model(0, device)
    before = models.loads
    models._resident.pop(1)
    models.model(1, device)  # 2 is the oldest now
    assert models.loads == before + 1
    assert models.resident_bytes <= models.memory
    models.model(0, device)
    assert models.loads == before + 1
    models.model(2, device)
    assert models.loads == before + 2


def test_a_model_that_is_never_asked_is_never_read(cascade, shop):
    tree = Oracle(cascade).tree
    prefer(cascade, tree.department("123"))
    for file in cascade.glob("leaves/*/classifier.ckpt"):
        if not file.parent.name.startswith("000"):
            file.unlink()
    module = Cascade(str(cascade))
    found = answers_of(module, windows(shop, cascade, window=60))
    assert {one["best"][0] for one in found.values()} == {tree.department("123")}
    assert module.leaf_models.loads == 1
