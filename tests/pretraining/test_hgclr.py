"""HGCLR: which labels and tokens take part, both losses, what the official options change."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from transformers import AlbertConfig, AlbertModel

from hierarchy_lm.backbones import BackboneOptions, create_backbone
from hierarchy_lm.batches import ProductBatch, SparseTargets, TokenBatch
from hierarchy_lm.errors import UserError
from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.pretraining import ContrastOptions, HGCLRPretrainer

TREE = Hierarchy.from_paths(
    [("w0", "w1", "w2 w3"), ("w0", "w1", "w4"), ("w0", "w5"), ("w6", "w7p1", "w8"), ("w9",)]
)
W0, W6, W9, W1, W5, W7, W23, W4, W8 = range(9)
CLOSED = [(0, W0), (0, W6), (0, W1), (0, W7), (0, W23), (1, W0), (1, W1), (2, W9)]
TARGETS = SparseTargets(*torch.tensor(CLOSED).T.contiguous())
TINY = BackboneOptions("tiny", pretrained="none")

pytestmark = pytest.mark.filterwarnings("ignore:You are trying to `self.log:UserWarning")


@pytest.fixture
def make(tree_file: str, wordpiece_folder: Path):
    def build(backbone: BackboneOptions = TINY, **contrast: Any) -> HGCLRPretrainer:
        torch.manual_seed(0)
        options = ContrastOptions(**contrast)
        return HGCLRPretrainer(tree_file, str(wordpiece_folder), backbone, options)

    return build


@pytest.fixture
def batch(make_documents) -> ProductBatch:
    return make_documents([0, 1, 2], longest=12)._replace(targets=TARGETS)


def words_of(model: HGCLRPretrainer, tokens: TokenBatch) -> torch.Tensor:
    return model.backbone.word_embeddings[tokens.input_ids]


def test_the_tree_of_these_tests():
    assert TREE.paths[W7] == "w6 > w7p1"
    assert TREE.paths[W23] == "w0 > w1 > w2 w3"


# --- labels' features ---


def test_features_are_mean_embedded_names_and_a_vector_of_the_node(make, wordpiece):
    model = make().eval()
    nodes = torch.tensor([W7, W23, W0])
    found = model.positives.features(nodes, model._embed)
    layer = model.backbone.encoder.embeddings
    special = wordpiece.special
    for row, node in enumerate(nodes.tolist()):
        ids = wordpiece.tokenizer.encode(TREE.names[node], add_special_tokens=False).ids
        total = torch.zeros(32)
        whole = [special.cls, *ids, special.sep]
        for place, token in enumerate(whole):
            parts = (
                layer.word_embeddings.weight[token]
                + layer.position_embeddings.weight[place]
                + layer.token_type_embeddings.weight[0]
            )
            total += layer.LayerNorm(parts)
        expected = total / len(whole) + model.positives.identities[node]
        torch.testing.assert_close(found[row], expected)


def test_shares_keep_their_digits_in_bfloat16(make, batch):
    model = make()
    with torch.autocast("cpu", torch.bfloat16):
        kept = model.positives(words_of(model, batch.tokens), TARGETS, model._embed)
    assert kept.dtype == torch.float32


# --- attention of tokens to labels ---


# --- which tokens stay ---


def shares_by_loops(model: HGCLRPretrainer, batch: ProductBatch, seed: int) -> np.ndarray:
    """Gumbel-softmax over all labels; a token's share is that of its document's nodes."""
    sampler, options = model.positives, model.contrast
    nodes = torch.arange(9)
    torch.manual_seed(seed)
    features = sampler.graph(sampler.features(nodes, model._embed), nodes)
    words = words_of(model, batch.tokens)
    scores = sampler.attention(words, features)
    noise = -torch.empty_like(scores).exponential_().log()
    z = ((scores + noise) / options.gumbel_tau).detach().double().numpy()
    z -= z.max(axis=2, keepdims=True)
    found = np.zeros(z.shape[:2])
    for b, t in np.ndindex(found.shape):
        total = sum(math.exp(value) for value in z[b, t])
        for document, node in CLOSED:
            found[b, t] += (document == b) * math.exp(z[b, t, node]) / total
    return found


@pytest.mark.parametrize("contrast", [{}, {"gumbel_tau": 3.0, "gamma": 0.3}, {"official": True}])
def test_tokens_stay_whose_share_exceeds_gamma(make, batch, contrast):
    model = make(**{"gamma": 0.2} | contrast).eval()
    with torch.no_grad():
        model.positives.attention.query.weight.normal_(std=5)  # so that words matter
        shares = shares_by_loops(model, batch, seed=5)
        torch.manual_seed(5)
        kept = model.kept_tokens(words_of(model, batch.tokens), batch.targets)
    expected = (shares > model.contrast.gamma).astype(np.float32)
    assert 0 < expected.mean() < 1
    assert kept.tolist() == expected.tolist()


def test_kept_is_zero_or_one_and_has_the_gradient_of_the_shares(make, batch):
    model = make(gamma=0.2).train()
    kept = model.kept_tokens(words_of(model, batch.tokens), batch.targets)
    assert set(kept.unique().tolist()) == {0.0, 1.0}
    kept[:, 2].sum().backward()
    for name, parameter in model.positives.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    for name in ("attention.query.weight", "attention.key.weight", "identities"):
        assert model.positives.get_parameter(name).grad.abs().max() > 0, name


def test_gradient_is_that_of_the_shares_themselves(make, batch):
    """Numerically: the sum of the shares in loops, moved along one key's weight."""
    model = make(gamma=0.2).eval().double()
    with torch.no_grad():
        model.positives.attention.query.weight.normal_(std=1e4)  # else hardly any attention
    weight = model.positives.attention.key.weight
    torch.manual_seed(5)
    model.kept_tokens(words_of(model, batch.tokens), batch.targets).sum().backward()
    place = divmod(int(weight.grad.abs().argmax()), weight.shape[1])
    sums = []
    for value in (weight[place].item() + 1e-5, weight[place].item() - 1e-5):
        with torch.no_grad():
            weight[place] = value
            sums.append(shares_by_loops(model, batch, seed=5).sum())
    assert weight.grad[place].item() == pytest.approx((sums[0] - sums[1]) / 2e-5, rel=1e-4)


@pytest.mark.parametrize("official", [False, True])
def test_official_noise_outweighs_any_attention(make, batch, official: bool):
    """Probabilities differ by at most 1. Ours are logits: sure attention keeps what it keeps."""
    model = make(official=official, gamma=0.5).eval()
    with torch.no_grad():
        for linear in (model.positives.graph.last.query_key_value, model.positives.attention.query):
            linear.weight.normal_(std=1e3)  # labels apart, and words sure of theirs
        drawn = []
        for seed in range(10):
            torch.manual_seed(seed)
            drawn.append(model.kept_tokens(words_of(model, batch.tokens), batch.targets))
    words = batch.tokens.attention_mask.bool()  # padding's embedding is zero
    agreeing = torch.stack([(kept == drawn[0])[words] for kept in drawn]).float().mean().item()
    assert agreeing < 0.9 if official else agreeing > 0.97


@pytest.mark.parametrize("tau", [1e-4, 1e4])
def test_the_gumbel_temperature_reaches_the_shares(make, batch, tau: float):
    """Cold: a token is one label's alone. Hot: all nine labels share it, gamma decides."""
    for seed in range(3):
        model = make(gumbel_tau=tau, gamma=4.5 / 9).eval()
        torch.manual_seed(seed)
        kept = model.kept_tokens(words_of(model, batch.tokens), batch.targets)
        if tau > 1:
            assert kept.tolist() == [[1.0] * 12, [0.0] * 12, [0.0] * 12]  # 5, 2 and 1 nodes
        else:
            assert 0 < kept[0].mean() < 1
            model.positives.options = replace(model.contrast, gamma=0.999)
            torch.manual_seed(seed)
            assert torch.equal(
                model.kept_tokens(words_of(model, batch.tokens), batch.targets), kept
            )


# --- the positive view ---


def test_positive_view_of_all_tokens_is_the_plain_text(make, batch):
    model = make().eval()
    kept = torch.ones(batch.tokens.input_ids.shape)
    torch.testing.assert_close(
        model.positive_cls(batch.tokens, words_of(model, batch.tokens), kept),
        model.backbone(batch.tokens),
        atol=1e-5,
        rtol=1e-4,
    )


def test_a_dropped_words_embedding_is_zero_but_its_position_stays(make, batch):
    """As if the word had an embedding of zeros: a row of the table that no other token uses."""
    model = make().eval()
    tokens = batch.tokens
    kept = torch.ones(tokens.input_ids.shape)
    kept[:, 3] = 0
    found = model.positive_cls(tokens, words_of(model, tokens), kept)
    unused = next(n for n in range(5, 40) if n not in tokens.input_ids)
    with torch.no_grad():
        model.backbone.word_embeddings[unused] = 0
    ids = tokens.input_ids.clone()
    ids[:, 3] = unused
    expected = model.backbone(tokens._replace(input_ids=ids))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(found, model.backbone(tokens), atol=1e-3)


# --- the loss ---


def parts_of_loss(model: HGCLRPretrainer, batch: ProductBatch, tau: float) -> tuple[float, float]:
    """BCE of both views by hand, and NT-Xent in loops."""
    torch.manual_seed(3)
    kept = model.kept_tokens(words_of(model, batch.tokens), batch.targets)
    views = [
        model.backbone(batch.tokens),
        model.positive_cls(batch.tokens, words_of(model, batch.tokens), kept),
    ]
    target = torch.zeros(3, 9)
    for document, node in CLOSED:
        target[document, node] = 1.0
    bce = sum(
        F.binary_cross_entropy_with_logits(view @ model.head.weight.T + model.head.bias, target)
        for view in views
    )
    _, first, _, _, second = model.projector
    projected = torch.cat([second(first(view).relu()) for view in views])
    rows = [row / np.linalg.norm(row) for row in projected.detach().double().numpy()]
    terms = []
    for i in range(6):
        scores = [math.exp(rows[i] @ rows[j] / tau) if j != i else 0.0 for j in range(6)]
        terms.append(-math.log(scores[(i + 3) % 6] / sum(scores)))
    return bce.item(), float(np.mean(terms))


@pytest.mark.parametrize(("tau", "official"), [(1.0, False), (0.1, False), (0.1, True)])
def test_loss_is_both_bces_and_the_weighted_contrast(make, batch, tau: float, official: bool):
    """Officially the contrast's temperature is 1 whatever `tau` says."""
    model = make(tau=tau, official=official, weight=0.7, gamma=0.2).eval()
    bce, contrast = parts_of_loss(model, batch, 1.0 if official else tau)
    torch.manual_seed(3)
    assert model.loss(batch).item() == pytest.approx(bce + 0.7 * contrast, rel=1e-4)


@pytest.mark.parametrize("contrast", [{}, {"official": True}, {"num_layers": 2}, {"max_labels": 4}])
def test_every_parameter_is_trained(make, batch, contrast):
    """DDP stops at a parameter without gradient."""
    model = make(**contrast).train()
    loss = model.training_step(batch, 0)
    assert loss.isfinite()
    loss.backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


def test_without_dropout_in_the_encoder_the_projector_has_its_own(make, batch):
    """ALBERT has none."""
    model = make(dropout=0.5).train()
    dropped = [module.p for module in model.projector if isinstance(module, torch.nn.Dropout)]
    assert dropped == [0.5, 0.5]
    h_cls = torch.randn(3, 32)
    assert not torch.equal(model.projector(h_cls), model.projector(h_cls))
    model.eval()
    assert torch.equal(model.projector(h_cls), model.projector(h_cls))


def test_narrow_word_embeddings_are_the_space_of_the_labels(make, batch, tmp_path):
    """ALBERT's, of 128 dimensions there and 16 here."""
    config = AlbertConfig(
        vocab_size=40,
        embedding_size=16,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
    )
    AlbertModel(config, add_pooling_layer=False).save_pretrained(tmp_path)
    model = make(BackboneOptions(str(tmp_path))).train()
    assert model.positives.identities.shape == (9, 16)
    loss = model.loss(batch)
    loss.backward()
    assert loss.isfinite()


def test_runs_in_bfloat16(make, batch):
    model = make(num_layers=2).train()
    with torch.autocast("cpu", torch.bfloat16):
        loss = model.loss(batch)
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.isfinite()


def test_prediction_is_a_linear_layer_on_the_plain_texts_cls(make, batch):
    model = make().eval()
    h_cls = create_backbone(TINY, 40, 0).eval()
    h_cls.load_state_dict(model.backbone.state_dict())
    expected = h_cls(batch.tokens) @ model.head.weight.T + model.head.bias
    torch.testing.assert_close(model(batch), expected)
    found = model.predict_step(batch, 0)
    pairs = torch.nonzero(expected > 0)
    assert torch.stack([found["documents"], found["labels"]], dim=1).tolist() == pairs.tolist()


# --- options ---


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("tau", 0.0), ("gumbel_tau", -1.0), ("max_labels", 0), ("num_layers", 0)),
        *(("num_heads", 0), ("dropout", 1.0), ("gamma", 1.0), ("weight", -0.1)),
    ],
)
def test_options_without_meaning_are_refused_by_name(option: str, value: float):
    with pytest.raises(ValueError, match=f"contrast.{option} must be"):
        replace(ContrastOptions(), **{option: value})


def test_heads_that_do_not_fit_are_one_line(make):
    with pytest.raises(UserError, match=r"^model.contrast.num_heads: 5 heads do not divide .*32"):
        make(num_heads=5)


def test_an_encoder_without_token_states_is_one_line(make):
    with pytest.raises(UserError, match=r"^model.backbone: HGCLR needs a transformer"):
        make(BackboneOptions("dnn", pretrained="none"))
