"""The noise against the clean sample of the same seed: the same products, only noisier."""

import numpy as np
import pytest

from data_modules.sample.noise import draw_noise
from data_modules.sample.options import NOISE_KINDS, SampleOptions

RATES = {
    "missing_fields": 0.4,
    "misleading_text": 0.3,
    "soft_adversarial": 0.2,
    "hard_adversarial": 0.08,
    "wrong_labels": 0.12,
    "missing_labels": 0.1,
}
TEXT_KINDS = {"misleading_text", "soft_adversarial", "hard_adversarial"}
FIELDS = ("title", "description", "bullet_points")


def share(rows, condition):
    return sum(map(condition, rows)) / len(rows)


def within(rate, count):
    """Five standard errors of a share."""
    return pytest.approx(rate, abs=5 * (rate * (1 - rate) / count) ** 0.5)


def ancestors(nodes, node):
    found = []
    while (node := nodes[node]["parent_id"]) >= 0:
        found.append(node)
    return found


@pytest.fixture(scope="module")
def pairs(clean, all_noisy):
    return list(zip(clean.rows(), all_noisy.rows(), strict=True))


def test_clean_products_have_no_noise_all_fields_and_their_true_nodes(clean):
    for row in clean.rows():
        assert row["noise"] == []
        assert row["node_ids"] == row["true_node_ids"] != []
        assert all(row[field] for field in FIELDS)


def test_all_of_l2_and_half_of_l1_is_noisy(half_noisy, all_noisy):
    assert all(row["noise"] for row in all_noisy.rows())
    assert share(half_noisy.rows(), lambda row: bool(row["noise"])) == within(0.5, 6000)


@pytest.mark.parametrize("kind", list(RATES))
def test_each_kind_has_its_share_of_the_noisy_products(all_noisy, half_noisy, kind):
    assert share(all_noisy.rows(), lambda row: kind in row["noise"]) == within(RATES[kind], 6000)
    noisy = [row for row in half_noisy.rows() if row["noise"]]
    assert share(noisy, lambda row: kind in row["noise"]) == within(RATES[kind], len(noisy))


def test_noise_changes_nothing_but_what_its_tags_say(pairs):
    for pure, noisy in pairs:
        for column in ("item_id", "true_node_ids", "weight", "locale"):
            assert pure[column] == noisy[column]
        tags = set(noisy["noise"])
        if not tags & {"wrong_labels", "missing_labels"}:
            assert noisy["node_ids"] == noisy["true_node_ids"]
        if not tags & TEXT_KINDS:
            for field in FIELDS:
                assert noisy[field] in (pure[field], None)
        assert any(noisy[field] is None for field in FIELDS) == ("missing_fields" in tags)


def test_incomplete_products_keep_some_text(all_noisy):
    rows = [row for row in all_noisy.rows() if "missing_fields" in row["noise"]]
    for field, rate in (("title", 0.1), ("description", 0.55), ("bullet_points", 0.55)):
        missing = share(rows, lambda row, field=field: row[field] is None)
        assert missing == within(rate, len(rows))
    assert all(row["title"] or row["description"] for row in rows)


def test_text_noise_shows_in_the_text(pairs):
    whole = [(pure, noisy) for pure, noisy in pairs if "missing_fields" not in noisy["noise"]]
    for kind in TEXT_KINDS:
        changed = [(pure, noisy) for pure, noisy in whole if kind in noisy["noise"]]
        assert changed
        for pure, noisy in changed:
            assert pure["description"] != noisy["description"]
            if kind == "soft_adversarial":  # everything of the clean text is there, and more
                assert noisy["title"].startswith(pure["title"])
                assert noisy["description"].startswith(pure["description"])
                assert len(noisy["bullet_points"]) > len(pure["bullet_points"])
            if kind == "misleading_text":
                assert len(noisy["description"]) > len(pure["description"]) - 20


def test_wrong_labels_are_wrong_and_mostly_siblings(all_noisy):
    nodes = all_noisy.nodes()
    rows = [row for row in all_noisy.rows() if "wrong_labels" in row["noise"]]
    siblings = 0
    for row in rows:
        (given,), true = row["node_ids"], row["true_node_ids"][0]
        assert given != true
        if nodes[given]["parent_id"] == nodes[true]["parent_id"] >= 0:
            siblings += 1
        else:
            assert [given, *ancestors(nodes, given)][-1] != [true, *ancestors(nodes, true)][-1]
    assert 0.45 < siblings / len(rows) < 0.75  # only children have no sibling to be taken for


def test_missing_labels_are_a_part_of_the_truth(all_noisy):
    nodes = all_noisy.nodes()
    rows = [row for row in all_noisy.rows() if "missing_labels" in row["noise"]]
    for row in rows:
        given, true = row["node_ids"], row["true_node_ids"]
        if len(true) == 2:
            assert len(given) == 1
            assert given[0] in true
        else:
            assert given == [] or given == ancestors(nodes, true[0])[:1]
    assert 0.3 < share(rows, lambda row: row["node_ids"] == []) < 0.6


def test_knobs_at_zero_switch_their_noise_off(make_sample):
    quiet = {kind: 0.0 for kind in RATES}
    sample = make_sample(items=1500, noise="L2", task_items=0, **(quiet | {"wrong_labels": 0.3}))
    rows = sample.rows()
    assert {tag for row in rows for tag in row["noise"]} == {"wrong_labels"}
    assert share(rows, lambda row: row["node_ids"] != row["true_node_ids"]) == within(0.3, 1500)


def test_draw_is_systematic_sampling_along_the_rates():
    """A literal version: walk along the line of rates in steps of one."""
    options = SampleOptions(noise="L2", misleading_text=0.5, missing_fields=0.9)
    kinds = draw_noise(options, 300, np.random.default_rng(3))
    rng = np.random.default_rng(3)
    rng.random(300)
    for row, start in enumerate(rng.random(300)):
        expected, reached, point = set(), 0.0, start
        for kind in NOISE_KINDS:
            end = reached + getattr(options, kind)
            while point < end:
                expected.add(kind)
                point += 1.0
            reached = end
        assert {kind for kind in NOISE_KINDS if kinds[kind][row]} == expected
        assert len(expected & TEXT_KINDS) <= 1
        assert len(expected & {"wrong_labels", "missing_labels"}) <= 1
