"""What HPT trains: every parameter, and masked words beside the tree if they are asked for."""

from functools import partial
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from hierarchy_lm.backbones.appended import append_tokens
from hierarchy_lm.batches import ProductBatch
from hierarchy_lm.pretraining.masking import MaskingOptions

from .conftest import MakeDocuments, fake_trainer
from .hpt_model import TARGETS, TREE, make_batch, make_hpt


@pytest.fixture
def make(tree_file: str, wordpiece_folder: Path):
    return partial(make_hpt, tree_file, wordpiece_folder)


@pytest.fixture
def batch(make_documents: MakeDocuments) -> ProductBatch:
    return make_batch(make_documents)


@pytest.mark.filterwarnings("ignore:You are trying to `self.log:UserWarning")
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"edges": "official"},
        {"sample_per_level": 1, "loss": "global"},
        {"joint_mlm": "words", "masking": MaskingOptions(share=0.5)},
        {"joint_mlm": "all", "masking": MaskingOptions(share=0.5)},
    ],
)
def test_every_parameter_is_trained(make, batch, options):
    """DDP stops at one without gradient."""
    model = make(**options).train()
    model._trainer = fake_trainer()
    loss = model.training_step(batch, 0)
    assert loss.isfinite()
    loss.backward()
    unused = [n for n, p in model.named_parameters() if p.grad is None and p.requires_grad]
    assert unused == []


@pytest.mark.filterwarnings("ignore:You are trying to `self.log:UserWarning")
@pytest.mark.parametrize("candidates", ["words", "all"])
def test_masked_words_add_the_mean_of_their_cross_entropy(make, batch, candidates):
    model = make(joint_mlm=candidates, masking=MaskingOptions(share=0.5))
    model._trainer = fake_trainer()
    found = model.training_step(batch, 0)
    masked = model.masking(batch.tokens, batch.rows, model.run_seed, 0)
    hidden = batch._replace(tokens=masked.tokens)
    table, bias = model.backbone.word_embeddings, model.mlm_head.bias
    appended = append_tokens(masked.tokens, table, model.tail(), keep_sep=False)
    states = model.backbone.encode(appended.tokens)
    if candidates == "all":  # one table, as in the official code: words, nodes, levels, [PRED]
        table = torch.cat([table, model.labels.weight, model.graph.levels, model.pred[None]])
        bias = torch.cat([bias, model.extension])
    terms = []
    for document, place in masked.chosen.nonzero().tolist():
        state = model.mlm_head.norm(F.gelu(model.mlm_head.dense(states[document, place])))
        scores = table @ state + bias
        terms.append(-scores.log_softmax(0)[batch.tokens.input_ids[document, place]])
    expected = model.path_loss(model(hidden), TARGETS) + torch.stack(terms).mean()
    torch.testing.assert_close(found, expected)
    assert not torch.allclose(found, model.path_loss(model(batch), TARGETS))


def test_a_node_in_one_table_with_the_words_has_that_tables_bias_too(make, batch):
    model = make(joint_mlm="all")
    logits = model(batch)
    extension = model.extension.detach().clone()
    assert extension.abs().min() > 0
    with torch.no_grad():
        model.extension.zero_()
    torch.testing.assert_close(logits - model(batch), extension[: TREE.num_nodes].expand(3, -1))
