"""The DHPC paper's baseline: pooled views against loops, and all that a backbone must do."""

import json

import numpy as np
import pytest
import torch
from transformers import AutoModel

from hierarchy_lm.backbones import (
    Backbone,
    BackboneOptions,
    backbone_from_config,
    create_backbone,
)
from hierarchy_lm.backbones.dnn import DNNConfig, DNNModel
from hierarchy_lm.batches import TokenBatch
from hierarchy_lm.errors import UserError
from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.nn import StructuralOptions, StructuralTransformer

PAD, CLS, SEP = 0, 2, 3
VOCABULARY = 50
FIELDS = [
    # title, description, bullet points
    ([10, 11, 12], [20, 21, 22, 23], [30]),
    ([13], [], [31, 32, 31]),
    ([], [24, 25], []),
    ([], [], []),
    ([14, 15, 14, 16, 17], [26], [33, 34]),
]


def build(num_views: int = 3) -> Backbone:
    """A small one whose weights and running statistics are not those of a new one."""
    torch.manual_seed(0)
    config = DNNConfig(VOCABULARY, PAD, embedding_size=6, hidden_sizes=[8, 5], num_views=num_views)
    model = DNNModel(config)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(torch.rand_like(tensor) + 0.1)
        model.embeddings.weight.sub_(0.6)
        for linear in model.layers[0].linears:
            linear.weight.sub_(0.6)
    return Backbone(model)


def sequence(fields: tuple[list[int], ...]) -> tuple[list[int], list[int]]:
    """Ids and segments of a text with one segment and [SEP] per field that is there (DHPC, C.1)."""
    ids, segments = [CLS], [0]
    for segment, words in enumerate(fields):
        if words:
            ids += [*words, SEP]
            segments += [segment] * (len(words) + 1)
    return (ids, segments) if len(ids) > 1 else ([CLS, SEP], [0, 0])


def batch(texts: list[tuple[list[int], list[int]]], padded_to: int = 0) -> TokenBatch:
    width = max(padded_to, *(len(ids) for ids, _ in texts))
    rows = [
        (ids + [PAD] * (width - len(ids)), kinds + [0] * (width - len(ids)), len(ids))
        for ids, kinds in texts
    ]
    mask = [[int(place < length) for place in range(width)] for _, _, length in rows]
    columns = ([ids for ids, _, _ in rows], [kinds for _, kinds, _ in rows], mask)
    return TokenBatch(*(torch.tensor(column) for column in columns))


def views_by_loop(backbone: Backbone, fields: tuple[list[int], ...]) -> np.ndarray:
    table = backbone.encoder.embeddings.weight.detach().numpy().astype(np.float64)
    pooled = [
        np.mean([table[word] for word in words], axis=0) if words else np.zeros(table.shape[1])
        for words in fields
    ]
    return np.concatenate(pooled)


def perceptron_by_loop(backbone: Backbone, views: np.ndarray) -> np.ndarray:
    """Linear, BatchNorm with running statistics, ReLU; twice."""
    state = {name: tensor.double().numpy() for name, tensor in backbone.state_dict().items()}
    for layer in (0, 1):
        sums = state[f"encoder.layers.0.linears.{layer}.weight"] @ views
        norm = {
            name: state[f"encoder.layers.0.norms.{layer}.{name}"]
            for name in ("running_mean", "running_var", "weight", "bias")
        }
        normal = (sums - norm["running_mean"]) / np.sqrt(norm["running_var"] + 1e-5)
        views = np.maximum(0, normal * norm["weight"] + norm["bias"])
    return views


def test_output_is_the_perceptron_over_the_mean_of_each_view():
    backbone = build().eval()
    found = backbone(batch([sequence(fields) for fields in FIELDS])).detach().numpy()
    expected = [perceptron_by_loop(backbone, views_by_loop(backbone, f)) for f in FIELDS]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    assert (np.array(expected) > 0).mean() > 0.3  # ReLU lets something through
    assert len(np.unique(np.array(expected).round(4), axis=0)) == len(FIELDS)


def test_document_mode_is_one_view_of_all_words():
    """All fields in one segment with a single [SEP] at the end."""
    backbone = build(num_views=1).eval()
    words = [10, 11, 12, 20, 21]
    found = backbone(batch([([CLS, *words, SEP], [0] * 7)]))[0].detach().numpy()
    expected = perceptron_by_loop(backbone, views_by_loop(backbone, (words,)))
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_query_and_product_are_two_views():
    backbone = build(num_views=2).eval()
    ids = [CLS, 40, 41, SEP, 10, 11, 12, SEP]
    found = backbone(batch([(ids, [0] * 4 + [1] * 4)]))[0].detach().numpy()
    expected = perceptron_by_loop(backbone, views_by_loop(backbone, ([40, 41], [10, 11, 12])))
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_ids_of_cls_sep_and_padding_do_not_matter():
    backbone = build().eval()
    tokens = batch([sequence(fields) for fields in FIELDS], padded_to=16)
    ids = tokens.input_ids.clone()
    ids[(ids == CLS) | (ids == SEP) | (ids == PAD)] = 45
    torch.testing.assert_close(backbone(tokens._replace(input_ids=ids)), backbone(tokens))


@pytest.mark.parametrize("training", [False, True])
def test_padding_changes_nothing(training):
    backbone = build().train(training)
    backbone.encoder.layers[0].dropout.p = 0.0
    texts = [sequence(fields) for fields in FIELDS]
    torch.testing.assert_close(backbone(batch(texts)), backbone(batch(texts, padded_to=40)))
    if not training:
        alone = torch.cat([backbone(batch([text])) for text in texts])
        torch.testing.assert_close(backbone(batch(texts)), alone)


def test_order_of_words_does_not_matter_but_their_field_does():
    backbone = build().eval()
    one, shuffled, moved = (
        backbone(batch([sequence(fields)]))
        for fields in [
            ([10, 11, 12], [20, 21], [30]),
            ([12, 10, 11], [21, 20], [30]),
            ([10, 11], [12, 20, 21], [30]),
        ]
    )
    torch.testing.assert_close(one, shuffled)
    assert not torch.allclose(one, moved, rtol=1e-2)


def test_sizes_are_those_of_the_paper_notes():
    """300-d table; 900 -> 1024 -> 512 with BatchNorm; weights of BatchNorm instead of biases."""
    backbone = create_backbone(BackboneOptions("dnn", num_segments=3), 16_000, PAD)
    table = 16_000 * 300
    perceptron = 900 * 1024 + 2 * 1024 + 1024 * 512 + 2 * 512
    assert sum(p.numel() for p in backbone.parameters()) == table + perceptron == 6_248_960
    assert (backbone.hidden_size, backbone.num_segments, backbone.num_layers) == (512, 3, 1)
    assert not backbone.encoder.embeddings.weight[PAD].any()


def test_every_view_of_a_new_one_starts_with_weights_of_the_same_size():
    torch.manual_seed(0)
    backbone = create_backbone(BackboneOptions("dnn", num_segments=3), 100, PAD)
    parts = backbone.encoder.layers[0].linears[0].weight.detach().split(300, dim=1)
    assert [float(part.std()) for part in parts] == pytest.approx([0.02] * 3, rel=0.02)
    assert not torch.equal(parts[1], parts[2])


def test_all_layer_cls_is_the_single_output():
    backbone = build().eval()
    tokens = batch([sequence(fields) for fields in FIELDS])
    assert torch.equal(backbone.all_layer_cls(tokens), backbone(tokens)[:, None])


def test_text_may_be_longer_than_any_encoders():
    ids = torch.full((1, 5000), 7)
    tokens = TokenBatch(ids, torch.zeros_like(ids), torch.ones_like(ids))
    assert build().eval()(tokens).isfinite().all()


def test_a_batch_of_one_document_trains_and_leaves_the_statistics_alone():
    backbone = build()
    before = backbone.encoder.layers[0].norms[0].running_mean.clone()
    backbone(batch([sequence(FIELDS[0])])).sum().backward()
    assert torch.equal(backbone.encoder.layers[0].norms[0].running_mean, before)
    backbone(batch([sequence(fields) for fields in FIELDS]))
    assert not torch.equal(backbone.encoder.layers[0].norms[0].running_mean, before)


def test_every_parameter_gets_a_gradient_and_words_that_are_absent_none():
    backbone = build()
    backbone(batch([sequence(fields) for fields in FIELDS])).pow(2).sum().backward()
    assert [name for name, p in backbone.named_parameters() if p.grad is None] == []
    used = {word for fields in FIELDS for words in fields for word in words}
    touched = backbone.encoder.embeddings.weight.grad.any(dim=1).nonzero().flatten().tolist()
    assert set(touched) == used


def test_a_checkpoints_plain_config_rebuilds_it():
    original = build().eval()
    config = json.loads(json.dumps(original.config_dict))
    rebuilt = backbone_from_config(config).eval()
    rebuilt.load_state_dict(original.state_dict())
    tokens = batch([sequence(fields) for fields in FIELDS])
    assert torch.equal(rebuilt(tokens), original(tokens))
    assert (rebuilt.num_segments, rebuilt.max_length) == (3, original.max_length)


def test_a_saved_folder_loads_by_name_and_by_auto_model(tmp_path):
    original = build().eval()
    original.save_pretrained(tmp_path)
    tokens = batch([sequence(fields) for fields in FIELDS])
    options = BackboneOptions("dnn", str(tmp_path), num_segments=2)  # views are never taken away
    loaded = create_backbone(options, VOCABULARY, PAD)
    assert all(module.training for module in loaded.modules())
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, original.state_dict()[name]), name
    states = AutoModel.from_pretrained(tmp_path)(*tokens[:1], tokens.attention_mask, tokens[1])
    torch.testing.assert_close(states.last_hidden_state[:, 0], original(tokens))


def test_a_loaded_one_gains_views_and_keeps_what_it_knew(tmp_path):
    original = build(num_views=1).eval()
    original.save_pretrained(tmp_path)
    options = BackboneOptions(str(tmp_path), num_segments=3)
    wider = create_backbone(options, VOCABULARY, PAD).eval()
    title_only = batch([sequence(([10, 11], [], []))])
    torch.testing.assert_close(wider(title_only), original(title_only))
    with_description = batch([sequence(([10, 11], [20, 21], []))])
    assert not torch.equal(wider(with_description), wider(title_only))
    assert backbone_from_config(wider.config_dict).num_segments == 3


def test_weights_of_another_family_are_refused(tmp_path):
    create_backbone(BackboneOptions("tiny"), VOCABULARY, PAD).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="of type 'bert', but 'dnn' is of type 'hlm-dnn'"):
        create_backbone(BackboneOptions("dnn", str(tmp_path)), VOCABULARY, PAD)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_layers": 2}, "2 layers asked for, the encoder has 1"),
        ({"gradient_checkpointing": True}, "the dnn has no activations worth it"),
        ({"pretrained": "hub"}, "no published weights"),
    ],
)
def test_options_without_meaning_for_it_are_refused(changes, message):
    with pytest.raises(UserError, match=message) as caught:
        create_backbone(BackboneOptions("dnn", **changes), VOCABULARY, PAD)
    assert "\n" not in str(caught.value)


def test_it_learns_under_the_structural_transformer():
    """As SSTPretrainer uses it: [CLS] in, logits of all nodes out."""
    tree = Hierarchy.from_paths([("A", "B"), ("C", "D")])
    backbone = build()
    head = StructuralTransformer(tree.level_sizes, backbone.hidden_size, StructuralOptions())
    tokens = batch([sequence(fields) for fields in FIELDS])
    assert head(backbone(tokens)).shape == (len(FIELDS), tree.num_nodes)


def test_bfloat16_agrees_with_float32():
    backbone = build()
    backbone.encoder.layers[0].dropout.p = 0.0
    tokens = batch([sequence(fields) for fields in FIELDS])
    full = backbone(tokens)
    with torch.autocast("cpu", torch.bfloat16):
        half = backbone(tokens)
    assert torch.nn.functional.cosine_similarity(full, half.float()).min() > 0.98
