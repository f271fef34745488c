"""HPT on a small tree: what stands behind a text, what is read there, what the options change."""

from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from hierarchy_lm.backbones import BackboneOptions
from hierarchy_lm.backbones.appended import append_tokens
from hierarchy_lm.batches import ProductBatch, SparseTargets, TokenBatch
from hierarchy_lm.errors import UserError
from hierarchy_lm.pretraining.hpt import HPTPretrainer

from .conftest import CLS, MASK, SEP, MakeDocuments, kept_level_tokens
from .hpt_model import CLOSED, SIZES, TARGETS, TREE, make_batch, make_hpt


@pytest.fixture
def make(tree_file: str, wordpiece_folder: Path):
    return partial(make_hpt, tree_file, wordpiece_folder)


@pytest.fixture
def batch(make_documents: MakeDocuments) -> ProductBatch:
    return make_batch(make_documents)


def alone(batch: ProductBatch, document: int) -> ProductBatch:
    length = int(batch.tokens.attention_mask[document].sum())
    tokens = TokenBatch(*(part[document : document + 1, :length] for part in batch.tokens))
    nothing = torch.empty(0, dtype=torch.long)
    rows = batch.rows[document : document + 1]
    return ProductBatch(tokens, SparseTargets(nothing, nothing), rows, torch.ones(1), 1.0)


def by_hand(model: HPTPretrainer, batch: ProductBatch, document: int, keep_sep: bool) -> Tensor:
    """Scores of one document: its sequence as a list, the library's encoder, loops over nodes."""
    table = model.backbone.word_embeddings
    ids = [int(i) for i in alone(batch, document).tokens.input_ids[0]]
    assert (ids[0], ids[-1]) == (CLS, SEP)
    sequence = [table[i] for i in (ids if keep_sep else ids[:-1])]
    start = len(sequence)
    for prompt in model.prompts():
        sequence += [prompt, model.pred]
    sequence.append(table[SEP])
    states = model.backbone.encoder(inputs_embeds=torch.stack(sequence)[None]).last_hidden_state[0]
    scores = []
    for node, level in enumerate([0] * 3 + [1] * 3 + [2] * 3):
        state = states[start + 2 * level + 1]
        hidden = model.mlm_head.norm(F.gelu(model.mlm_head.dense(state)))
        scores.append(hidden @ model.labels.weight[node] + model.labels.bias[node])
    return torch.stack(scores)


def test_nodes_of_a_level_start_with_even_odds_or_at_one_half(tree_file, wordpiece_folder):
    build = partial(HPTPretrainer, tree_file, str(wordpiece_folder), BackboneOptions("tiny"))
    levels = build().labels.bias.split(SIZES)
    assert [torch.sigmoid(level).sum().item() for level in levels] == pytest.approx([1.0] * 3)
    assert all(level.unique().numel() == 1 for level in levels)
    assert build(bias_init="zero").labels.bias.tolist() == [0.0] * sum(SIZES)


def test_the_tree_of_these_tests():
    assert TREE.level_sizes == SIZES


@pytest.mark.parametrize("keep_sep", [False, True])
def test_prompts_stand_right_behind_each_text_and_each_level_is_read_at_its_own(
    make, batch, keep_sep
):
    model = make(keep_text_sep=keep_sep)
    logits = model(batch)
    for document in range(3):
        expected = by_hand(model, batch, document, keep_sep)
        torch.testing.assert_close(logits[document], expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(model(alone(batch, document))[0], logits[document])
        other = by_hand(model, batch, document, not keep_sep)
        assert not torch.allclose(logits[document], other, rtol=1e-4, atol=1e-5)


def test_all_tokens_attend_to_all_and_what_is_added_has_segment_0(make, batch):
    model = make()
    types = batch.tokens.attention_mask  # segment 1 everywhere
    given = append_tokens(
        batch.tokens._replace(token_type_ids=types),
        model.backbone.word_embeddings,
        model.tail(),
        keep_sep=False,
    )
    for document, length in enumerate((types.sum(dim=1) - 1).tolist()):
        end = length + 7
        assert given.tokens.mask[document].tolist() == [n < end for n in range(types.shape[1] + 6)]
        assert given.tokens.positions[document, :end].tolist() == list(range(end))
        assert given.tokens.segments[document, :end].tolist() == [1] * length + [0] * 7
        assert given.places[document].tolist() == list(range(length, end))
    assert given.tokens.mask.dim() == 2


def test_positions_of_what_is_added_may_be_shared(make, batch):
    tail = torch.zeros(4, 32)
    offsets = torch.tensor([0, 0, 1, 5])
    table = make().backbone.word_embeddings
    given = append_tokens(batch.tokens, table, tail, keep_sep=True, offsets=offsets, segment=1)
    for document, length in enumerate(batch.tokens.attention_mask.sum(dim=1).tolist()):
        own = given.tokens.positions[document, length : length + 4].tolist()
        assert own == [length, length, length + 1, length + 5]
        assert given.tokens.segments[document, length : length + 4].tolist() == [1] * 4


def test_prompts_hear_the_labels_unless_edges_are_official(make):
    for edges in ("bidirectional", "official"):
        model = make(edges=edges)
        before = model.prompts().detach()
        with torch.no_grad():
            model.labels.weight[4] += 1.0
        changed = (model.prompts() != before).any(dim=1).tolist()
        assert changed == [False, edges == "bidirectional", False]


def test_loss_is_per_level_unless_global_is_asked_for(make, batch):
    logits = make()(batch).detach()
    losses = {kind: make(loss=kind).path_loss(logits, TARGETS) for kind in ("per_level", "global")}
    rows = torch.zeros(())
    for document in range(3):
        for start in (0, 3, 6):
            own = [node for d, node in CLOSED if d == document and start <= node < start + 3]
            others = [node for node in range(start, start + 3) if node not in own]
            rows = rows + (1 + logits[document, others].exp().sum()).log()
            rows = rows + (1 + (-logits[document, own]).exp().sum()).log()
    torch.testing.assert_close(losses["per_level"], rows / 3)
    assert not torch.allclose(losses["global"], losses["per_level"], rtol=1e-2)


def test_labels_start_as_the_mean_of_their_names_pieces(tree_file, wordpiece_folder, wordpiece):
    for specials in (False, True):
        torch.manual_seed(0)
        options = {"init_specials": specials, "label_length": 0.0}
        model = HPTPretrainer(tree_file, str(wordpiece_folder), BackboneOptions("tiny"), **options)
        table = model.backbone.word_embeddings
        ids = [wordpiece.tokenizer.token_to_id(word) for word in ("w1", "##p3")]
        pieces = [CLS, *ids, SEP] if specials else ids
        node = TREE.node_of("w0 > w1p3")
        torch.testing.assert_close(model.labels.weight[node], table[pieces].mean(dim=0))
        assert torch.equal(model.pred, table[MASK])


def test_short_first_vectors_are_lengthened_to_one_in_the_mean(tree_file, wordpiece_folder):
    found = []
    for options in ({"label_length": 0.0}, {}):
        torch.manual_seed(0)
        model = HPTPretrainer(tree_file, str(wordpiece_folder), BackboneOptions("tiny"), **options)
        found.append(model.labels.weight)
    lengths = found[0].norm(dim=1)
    assert lengths.mean() < 0.2  # N(0, 0.02) in 32 dimensions
    torch.testing.assert_close(found[1], found[0] / lengths.mean())


def test_a_step_draws_its_own_nodes_and_evaluation_takes_all(make, monkeypatch):
    monkeypatch.setenv("PL_GLOBAL_SEED", "5")
    model = make(sample_per_level=2)
    model.graph.dropout.p = 0.0
    everything = make().prompts()
    seen, together = set(), []
    for step in range(40):
        model.train()
        model._step = step
        nodes = model.sampled_nodes().tolist()
        assert nodes == model.sampled_nodes().tolist()
        levels = [nodes[0:2], nodes[2:4], nodes[4:6]]
        for level, drawn in enumerate(levels):
            assert len(set(drawn)) == 2
            assert all(3 * level <= node < 3 * level + 3 for node in drawn)
        seen.add(tuple(map(frozenset, levels)))
        together += nodes
        expected = model.graph(model.labels.weight[nodes], [2, 2, 2])
        assert torch.equal(model.prompts(), expected)
        assert torch.equal(model.eval().prompts(), everything)
    assert len(seen) > 15  # of 27
    counts = torch.bincount(torch.tensor(together), minlength=9)
    assert counts.min() > 15  # of 27 expected each


def test_prompts_are_made_once_per_evaluation_and_anew_in_the_next(make, batch):
    model = make()
    calls = []
    model.graph.register_forward_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        first = [model(batch), model(batch)]
        assert len(calls) == 1
        model.train()
        model.labels.weight += 0.5
        model.eval()
        again = model(batch)
        assert len(calls) == 2
    assert torch.equal(first[0], first[1])
    assert not torch.equal(first[0], again)
    model(batch).sum().backward()  # never through what was kept
    model(batch).sum().backward()
    assert len(calls) == 4


def test_level_tokens_of_a_checkpoint_are_what_stands_behind_a_text(make, batch):
    model = make(sample_per_level=1).train()
    kept = kept_level_tokens(model)
    assert model.training
    model.eval()
    appended = append_tokens(
        batch.tokens,
        model.backbone.word_embeddings,
        kept["embeddings"],
        keep_sep=kept["keep_sep"],
        offsets=kept["offsets"],
        segment=kept["segment"],
    )
    states = appended.states_at(model.backbone.encode(appended.tokens), kept["read"])
    transformed = model.mlm_head.transform(states)
    torch.testing.assert_close(model.labels.score_levels(transformed, SIZES), model(batch))


def test_texts_that_leave_no_room_for_the_prompts_are_one_line(make):
    limit = make().backbone.max_length
    for keep, room in ((False, 6), (True, 7)):
        model = make(keep_text_sep=keep)
        data = SimpleNamespace(max_length=limit - room, num_segments=1, num_labels=9)
        model._trainer = SimpleNamespace(datamodule=data)
        model.setup("fit")
        data.max_length += 1
        with pytest.raises(UserError, match=f"data.text.max_length is .*at most {limit - room}$"):
            model.setup("fit")


def test_an_encoder_without_states_of_tokens_is_refused(tree_file, wordpiece_folder):
    with pytest.raises(UserError, match="no states of single tokens"):
        HPTPretrainer(tree_file, str(wordpiece_folder), BackboneOptions("dnn"))
