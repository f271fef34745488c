"""The loss of masked language modelling against Hugging Face's models of it."""

import pytest
import torch
from torch.nn import functional as F
from transformers import AlbertConfig, AlbertForMaskedLM, BertConfig, BertForMaskedLM

from hierarchy_lm.backbones import BackboneOptions
from hierarchy_lm.errors import UserError
from hierarchy_lm.pretraining import MaskingOptions, MLMPretrainer

from .conftest import SIZE

SHAPE = {
    "vocab_size": SIZE,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "hidden_act": "gelu",
}


def bert() -> BertForMaskedLM:
    return BertForMaskedLM(BertConfig(hidden_size=16, **SHAPE))


def albert() -> AlbertForMaskedLM:
    """Its word embeddings are narrower than its layers."""
    return AlbertForMaskedLM(AlbertConfig(hidden_size=16, embedding_size=6, **SHAPE))


@pytest.fixture
def build(tmp_path, wordpiece_folder):
    """A pre-trainer in float64 with the weights of a Hugging Face model, head included."""

    def make(model, **masking):
        torch.manual_seed(3)
        for parameter in model.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)  # biases and norms start equal
        model.base_model.save_pretrained(tmp_path)
        own = MLMPretrainer(
            str(wordpiece_folder), BackboneOptions(str(tmp_path)), MaskingOptions(**masking)
        )
        head = model.cls.predictions if hasattr(model, "cls") else model.predictions
        part = getattr(head, "transform", head)
        own.head.load_state_dict(
            {f"dense.{n}": value for n, value in part.dense.state_dict().items()}
            | {f"norm.{n}": value for n, value in part.LayerNorm.state_dict().items()}
            | {"bias": head.bias}
        )
        return own.eval().double()

    return make


def literal_loss(model, batch, masked):
    """Every token through the head; the labels of those not chosen are ignored."""
    labels = batch.tokens.input_ids.masked_fill(~masked.chosen, -100)
    return (
        model.eval()
        .double()(
            input_ids=masked.tokens.input_ids,
            attention_mask=masked.tokens.attention_mask,
            token_type_ids=masked.tokens.token_type_ids,
            labels=labels,
        )
        .loss
    )


@pytest.mark.parametrize("kind", [bert, albert])
def test_loss_is_that_of_the_full_vocabulary_head(kind, build, make_documents):
    model = kind()
    own = build(model)
    batch = make_documents(list(range(8)))
    guesses = own.guess(batch, seed=1, epoch=2)
    masked = own.masking(batch.tokens, batch.rows, 1, 2)
    expected = literal_loss(model, batch, masked)
    assert guesses.chosen == int(masked.chosen.sum()) > 0
    torch.testing.assert_close(guesses.loss / guesses.chosen, expected, rtol=1e-9, atol=0)


def test_gradient_of_the_tied_table_is_that_of_the_full_head(build, make_documents):
    """Its word embeddings learn as inputs and as decoder."""
    model = bert()
    own = build(model)
    batch = make_documents(list(range(8)))
    masked = own.masking(batch.tokens, batch.rows, 0, 0)
    guesses = own.guess(batch, 0, 0)
    (guesses.loss / guesses.chosen).backward()
    literal_loss(model, batch, masked).backward()
    expected = model.bert.embeddings.word_embeddings.weight.grad
    found = own.backbone.encoder.get_input_embeddings().weight.grad
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-12)


def test_only_chosen_positions_pass_the_head(build, make_documents):
    own = build(bert())
    batch = make_documents(list(range(8)))
    shapes = []
    own.head.register_forward_hook(lambda _, inputs, output: shapes.append(output.shape))
    guesses = own.guess(batch, 0, 0)
    assert shapes == [(guesses.chosen, SIZE)]


def test_the_decoder_is_no_weight_of_its_own(build):
    names = {name for name in build(bert()).state_dict() if name.startswith("head.")}
    assert names == {"head.bias"} | {f"head.{p}.{n}" for p in ("dense", "norm") for n in
                                     ("weight", "bias")}  # fmt: skip


def test_hits_are_counted_where_the_most_probable_token_is_right(build, make_documents):
    own = build(bert(), share=0.5)
    batch = make_documents(list(range(20)))
    masked = own.masking(batch.tokens, batch.rows, 0, 0)
    states = own.backbone.hidden_states(masked.tokens)
    values = own.head.norm(F.gelu(own.head.dense(states)))
    logits = values @ own.backbone.word_embeddings.T + own.head.bias
    right = logits.argmax(dim=-1) == batch.tokens.input_ids
    assert own.guess(batch, 0, 0).hits == (right & masked.chosen).sum()


def test_a_batch_without_a_chosen_token_has_no_gradient(build, make_documents):
    own = build(bert(), share=1e-7)
    guesses = own.guess(make_documents([0, 1]), 0, 0)
    assert (guesses.chosen, guesses.loss.item()) == (0, 0.0)
    guesses.loss.backward()
    assert all(float(p.grad.abs().sum()) == 0 for p in own.parameters() if p.grad is not None)
    assert own.head.dense.weight.grad is not None  # DDP waits for every parameter


def test_a_backbone_without_states_of_tokens_is_refused(wordpiece_folder):
    with pytest.raises(UserError, match="'dnn' has no states of single tokens"):
        MLMPretrainer(str(wordpiece_folder), BackboneOptions("dnn"))
