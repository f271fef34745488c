"""Labels and companions drawn for HiMatch, against sets in plain Python."""

from collections import Counter
from random import Random

import pytest
import torch

from hierarchy_lm.batches import SparseTargets
from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.losses.matching import Companions, MatchingOptions
from hierarchy_lm.nn.relatives import Relatives
from hierarchy_lm.pretraining.himatch_draws import draw_companions, nth_outside

# A > B has three children, A > C one; E stands alone.
TREE = Hierarchy.from_paths(
    [("A", "B", "X"), ("A", "B", "Y"), ("A", "B", "Z"), ("A", "C", "V"), ("D", "F", "W"), ("E",)]
)


def node(path: str) -> int:
    return TREE.node_of(path)


def targets(*documents: set[int]) -> SparseTargets:
    pairs = [(row, n) for row, nodes in enumerate(documents) for n in sorted(nodes)]
    return SparseTargets(*torch.tensor(pairs).reshape(-1, 2).T.contiguous())


def closed(*paths: str) -> set[int]:
    ends = [node(path) for path in paths]
    return {n for end in ends for n in [end, *TREE.ancestors(end)]}


def draw(
    gold: SparseTargets,
    rows: list[int],
    positives: SparseTargets | None = None,
    tree: Hierarchy = TREE,
    epoch: int = 0,
    seed: int = 0,
    **options: object,
) -> Companions:
    return draw_companions(
        gold if positives is None else positives,
        gold,
        Relatives(tree.parents, tree.level_offsets.tolist()),
        torch.tensor(rows),
        seed,
        epoch,
        MatchingOptions(**options),
    )


def test_nth_outside_reaches_every_free_number_evenly_and_no_other():
    random = Random(0)
    for _ in range(50):
        taken = sorted(random.sample(range(60), random.randrange(0, 30)))
        start = random.randrange(0, 50)
        end = random.randrange(start, 60)
        free = [n for n in range(start, end) if n not in taken]
        count = max(1, len(free))
        starts, ends = torch.full((count,), start), torch.full((count,), end)
        found, number = nth_outside(torch.tensor(taken).long(), starts, ends, torch.arange(count))
        assert number.tolist() == [len(free)] * count
        if free:
            assert found.tolist() == free


def random_case(seed: int) -> tuple[Hierarchy, SparseTargets, list[set[int]]]:
    random, paths = Random(seed), [("r0",), ("r1",)]
    while len(paths) < 40:
        above = random.choice(paths)
        if len(above) < 4:
            paths.append((*above, f"n{len(paths)}"))
    tree = Hierarchy.from_paths(paths)
    documents = []
    for _ in range(200):
        ends = random.sample(range(tree.num_nodes), random.randint(1, 6))
        documents.append({n for end in ends for n in [end, *tree.ancestors(end)]})
    return tree, targets(*documents), documents


@pytest.mark.parametrize("seed", range(3))
def test_no_companion_but_the_parent_is_gold(seed):
    tree, gold, documents = random_case(seed)
    drawn = draw(gold, list(range(len(documents))), tree=tree, num_positives=0)
    assert len(drawn.documents) == len(gold.labels)
    parents, levels = tree.parents.tolist(), tree.levels.tolist()
    kinds: Counter[str] = Counter()
    for n, document in enumerate(drawn.documents.tolist()):
        label, above, sibling, other = drawn.nodes[:, n].tolist()
        mine = documents[document]
        assert label in mine
        assert above == (label if parents[label] < 0 else parents[label])
        assert sibling not in mine
        assert other not in mine
        beside = {s for s in range(tree.num_nodes) if parents[s] == parents[label]} - mine
        grand = [-1 if p < 0 else parents[p] for p in parents]
        cousins = {
            s
            for s in range(tree.num_nodes)
            if levels[s] == levels[label] and grand[s] == grand[label]
        } - mine
        level = {s for s in range(tree.num_nodes) if levels[s] == levels[label]} - mine
        for name, group in {"sibling": beside, "cousin": cousins, "level": level}.items():
            if group:
                assert sibling in group
                kinds[name] += 1
                break
    assert drawn.valid.all()
    assert set(kinds) == {"sibling", "cousin", "level"}


def test_official_siblings_may_be_gold_ours_are_not():
    gold = targets(*[closed("A > B > X", "A > B > Y")] * 300)
    positives = targets(*[{node("A > B > X")}] * 300)
    found = {}
    for filter_gold in (True, False):
        drawn = draw(gold, list(range(300)), positives, filter_gold=filter_gold)
        found[filter_gold] = {TREE.paths[n] for n in drawn.nodes[2].tolist()}
        others = {TREE.paths[n] for n in drawn.nodes[3].tolist()}
        assert others == {TREE.paths[n] for n in range(TREE.num_nodes)} - {
            TREE.paths[n] for n in closed("A > B > X", "A > B > Y")
        }
    assert found == {True: {"A > B > Z"}, False: {"A > B > Y", "A > B > Z"}}


def test_an_only_child_gets_a_cousin_and_then_any_node_of_its_level():
    gold = targets(closed("A > C > V"), closed("D > F > W"))
    drawn = draw(gold, [0, 1], targets({node("A > C > V")}, {node("D > F > W")}))
    names = [TREE.paths[n] for n in drawn.nodes[2].tolist()]
    assert names[0] in {"A > B > X", "A > B > Y", "A > B > Z"}
    assert names[1] in {"A > B > X", "A > B > Y", "A > B > Z", "A > C > V"}


def test_of_a_product_with_all_nodes_nothing_is_pushed_away():
    gold = targets(set(range(TREE.num_nodes)), closed("E"))
    drawn = draw(gold, [0, 1])
    assert drawn.valid.tolist() == [[False, True], [False, True]]


def test_draws_depend_on_seed_epoch_and_row_alone():
    tree, gold, documents = random_case(0)
    rows = list(range(len(documents)))
    whole = draw(gold, rows, tree=tree)
    part = [7, 3, 150]
    alone = draw(targets(*(documents[n] for n in part)), part, tree=tree)
    for place, document in enumerate(part):
        assert torch.equal(alone.nodes[:, place], whole.nodes[:, document])
    for other in (draw(gold, rows, tree=tree, epoch=1), draw(gold, rows, tree=tree, seed=1)):
        for kind in (0, 2, 3):
            assert (other.nodes[kind] != whole.nodes[kind]).float().mean() > 0.3


@pytest.mark.parametrize("count", [1, 2, 3])
def test_positives_are_drawn_evenly_without_repetition(count):
    gold = targets(*[closed("A > B > X", "E")] * 2000)  # A, A > B, A > B > X, E
    drawn = draw(gold, list(range(2000)), num_positives=count)
    assert drawn.documents.bincount().tolist() == [count] * 2000
    assert (
        len({*zip(drawn.documents.tolist(), drawn.nodes[0].tolist(), strict=True)}) == 2000 * count
    )
    shares = torch.bincount(drawn.nodes[0]).float() / 2000
    assert shares[shares > 0].tolist() == pytest.approx([count / 4] * 4, abs=0.05)
    assert drawn.shares.unique().item() == pytest.approx(1 / count)


def test_fewer_labels_than_asked_for_are_all_taken():
    drawn = draw(targets(closed("E"), closed("A > B > X")), [4, 5], num_positives=2)
    assert drawn.documents.tolist() == [0, 1, 1]
    assert drawn.shares.tolist() == [1.0, 0.5, 0.5]


def test_siblings_are_drawn_evenly():
    gold = targets(*[closed("A > B > X")] * 3000)
    drawn = draw(gold, list(range(3000)), targets(*[{node("A > B > X")}] * 3000))
    counts = Counter(drawn.nodes[2].tolist())
    assert set(counts) == {node("A > B > Y"), node("A > B > Z")}
    assert counts[node("A > B > Y")] == pytest.approx(1500, abs=120)
