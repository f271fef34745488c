"""A window of items answers as each item alone, and as a slow version of the cascade."""

import gc

import pytest
import torch

from hierarchy_lm.batches import TokenBatch
from hierarchy_lm.classification import Cascade
from hierarchy_lm.classification.decisions import DECISIONS, REASONS
from hierarchy_lm.classification.network import ClassifierNetwork
from hierarchy_lm.classification.routing import Router, Temperatures

from .conftest import Oracle, answer, answers_of, edit_entry, prefer, windows

MODELS = 3
NO_TEXT = [DECISIONS.index("abstain"), REASONS.index("no_text")]


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
            expected, department, answers = oracle.candidates(batch, n, beam)
            kept = found[row]["alternatives"]
            empty = int(batch.tokens.attention_mask[n].sum()) == 2
            room = 0 if empty else alternatives if answers else alternatives - 1
            assert len(kept) == min(room, len(expected)), row
            for (d, leaf, p_d, p_leaf), (score, *rest) in zip(kept, expected, strict=False):
                assert p_d * p_leaf == pytest.approx(score, abs=1e-5)
                if expected.count((score, *rest)) == 1 and score > 1e-3:
                    assert (d, leaf) == tuple(rest[:2]), row
                assert [p_d, p_leaf] == pytest.approx(rest[2:], abs=1e-5)
            best = found[row]["best"]
            if empty or not answers:
                assert best[1] == -1
                assert best[3:5] == [0, 0]
            else:
                assert best[:2] == list(expected[0][1:3])
                assert best[4] == pytest.approx(expected[0][0], abs=1e-5)
            if not answers:
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


def test_sorted_rows_are_cut_where_padding_would_cost_more_than_a_pass(trained_cascade):
    router = Cascade(str(trained_cascade), chunk_tokens=640).router  # a pass is worth 10 tokens
    lengths = torch.tensor([3, 3, 4, 5, 8, 20, 20, 30, 31])
    mask = (torch.arange(31) < lengths[:, None]).long()
    chunks = router._chunks(TokenBatch(mask, torch.zeros_like(mask), mask))
    # By hand: padding 1+1 for the 4, then 2+2+1 for the 5; 3, 3, 4, 5 before an 8 would pad 17.
    # Two 20s before a 30 would pad 20; the 31 adds 1 to the 30.
    assert [tuple(part.input_ids.shape) for part in chunks] == [(4, 5), (1, 8), (2, 20), (2, 31)]


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
        if one["decision"] == NO_TEXT:
            assert one["alternatives"] == []
            continue
        scores = [p_d * p_leaf for _, _, p_d, p_leaf in one["alternatives"][1:]]
        leaves = [leaf for _, leaf, _, _ in one["alternatives"]]
        assert scores == sorted(scores, reverse=True)
        assert len(set(leaves)) == len(leaves) > 1
        assert one["best"][1] in (leaves[0], -1)
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
    assert tight.leaf_models.loads == 1 + (MODELS - 1) * len(batches)  # the resident one first
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


def test_room_for_all_models_but_one_loads_one_model_a_window(trained_cascade, shop):
    batches = windows(shop, trained_cascade, window=40)
    module = Cascade(str(trained_cascade), top_departments=6).eval()
    expected = answers_of(module, batches)
    sizes = [network.num_bytes for network in module.leaf_models._resident.values()]
    module.leaf_models.memory = sum(sizes) - 1
    before = module.leaf_models.loads
    assert_same(answers_of(module, batches), expected)
    assert len(sizes) == MODELS
    assert module.leaf_models.loads - before <= len(batches)


class Stub:
    """Leaf models by a table: p_leaf of each department's leaves; () for one without answer."""

    def __init__(self, scores, priors=()):
        self.scores = [torch.tensor(row) for row in scores]
        self.priors = priors
        starts = torch.tensor([0, *map(len, scores)]).cumsum(0) + 10
        self.nodes = [
            torch.arange(a, a + max(1, len(row))) for a, row in zip(starts, scores, strict=False)
        ]

    def leaves(self, department):
        return self.nodes[department]

    def resident_first(self, departments):
        return departments

    def prior(self, department):
        return self.scores[department] if department in self.priors else None

    def model(self, department, device):
        if not len(self.scores[department]):
            return None
        row = torch.logit(self.scores[department])
        return lambda tokens: row.expand(len(tokens.input_ids), -1)


def routed(p_departments, scores, beam=2, alternatives=3, priors=()):
    tokens = TokenBatch(*(torch.ones(1, 4, dtype=torch.long) for _ in TokenBatch._fields))
    departments = torch.logit(torch.tensor([p_departments]))
    router = Router(
        lambda chunk: departments, Stub(scores, priors), Temperatures(), beam, alternatives, 99
    )
    found = router.route(tokens)
    columns = zip(found.department[0].tolist(), found.leaf[0].tolist(), strict=True)
    return list(columns), found


def test_a_best_department_that_cannot_answer_stays_the_answer():
    pairs, found = routed([0.99, 0.01], [(), (0.5, 0.4)])
    assert pairs == [(0, -1), (1, 10), (1, 11)]
    assert found.p_department[0, 0].item() == pytest.approx(0.99)
    assert found.p_leaf[0].tolist() == pytest.approx([0, 0.5, 0.4])


def test_no_leaf_passes_a_more_probable_department_that_cannot_answer():
    """0.8 x 0.9 is more than 0.95 x 0.1, but the department of 0.9 may hold the right leaf."""
    pairs, _ = routed([0.9, 0.95, 0.8], [(), (0.1,), (0.9,)], beam=3)
    assert pairs[:2] == [(1, 10), (2, 11)]
    pairs, _ = routed([0.9, 0.95, 0.8], [(0.5,), (0.1,), (0.9,)], beam=3)
    assert pairs == [(2, 12), (0, 10), (1, 11)]


def test_leaves_without_a_share_are_no_answers_and_keep_no_department_from_answering():
    pairs, _ = routed([0.9, 0.8], [(0.0, 0.1, 0.0), (0.9, 0.3)], priors=(0,))
    assert pairs == [(1, 13), (1, 14), (0, 11)]
    assert routed([0.9, 0.8], [(0.0, 0.0), (0.9,)], priors=(0,))[0][0] == (0, -1)


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
