"""Names of nodes as token ids, against the tokenizer and plain loops."""

import pytest
import torch

from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.node_names import NodeNames, tokenize_names
from hierarchy_lm.vocabulary import Vocabulary

PATHS = [["Home"], ["Home", "w1p2"], ["Home", "w0"], ["Toys"]]


@pytest.fixture
def names(wordpiece: Vocabulary) -> NodeNames:
    return tokenize_names(Hierarchy.from_paths(PATHS), wordpiece)


def ids_of(vocabulary: Vocabulary, text: str) -> list[int]:
    return vocabulary.tokenizer.encode(text, add_special_tokens=False).ids


def test_names_are_those_of_the_tokenizer(names: NodeNames, wordpiece: Vocabulary) -> None:
    hierarchy = Hierarchy.from_paths(PATHS)
    for node, name in enumerate(hierarchy.names):
        found = names.ids[names.offsets[node] : names.offsets[node + 1]].tolist()
        assert found == (ids_of(wordpiece, name))
    assert len(names) == 4


def test_special_tokens_and_the_limit(wordpiece: Vocabulary) -> None:
    tree = Hierarchy.from_paths([["w1p2p3"]])
    cut = tokenize_names(tree, wordpiece, max_tokens=2, specials=True)
    whole = ids_of(wordpiece, "w1p2p3")
    special = wordpiece.special
    assert cut.ids.tolist() == [special.cls, *whole[:2], special.sep]


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_embedded_names(names: NodeNames, wordpiece: Vocabulary, reduction: str) -> None:
    torch.manual_seed(0)
    table = torch.randn(wordpiece.size, 5)
    found = names.embedded(table, "mean" if reduction == "mean" else "sum")
    for node in range(4):
        rows = [table[i] for i in names.ids[names.offsets[node] : names.offsets[node + 1]]]
        total = torch.stack(rows).sum(dim=0)
        expected = total / len(rows) if reduction == "mean" else total
        torch.testing.assert_close(found[node], expected)


def test_padded_names(names: NodeNames) -> None:
    ids, mask = names.padded(torch.tensor([3, 1]), pad=-7)
    for row, node in enumerate([3, 1]):
        own = names.ids[names.offsets[node] : names.offsets[node + 1]].tolist()
        assert ids[row, : len(own)].tolist() == own
        assert set(ids[row, len(own) :].tolist()) <= {-7}
        assert mask[row].tolist() == [1] * len(own) + [0] * (ids.shape[1] - len(own))
