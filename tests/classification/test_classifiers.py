"""Department and leaf classifiers on the small catalogue, against their parts by hand."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import BertConfig, BertModel

from hierarchy_lm.backbones import BackboneOptions
from hierarchy_lm.batches import ProductBatch
from hierarchy_lm.classification.base import ProductClassifier
from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.nn import SkipOptions

from .classifiers import GARDEN, batches, trainer


def literal_logits(model: ProductClassifier, batch: ProductBatch, layers: list[int]) -> np.ndarray:
    """Mean of the layers' [CLS] and the head's formula, from Hugging Face's own outputs."""
    ids, segments, mask = batch.tokens
    with torch.no_grad():
        states = model.backbone.encoder(
            input_ids=ids, token_type_ids=segments, attention_mask=mask, output_hidden_states=True
        ).hidden_states
    pooled = np.mean([states[layer][:, 0].double().numpy() for layer in layers], axis=0)
    weights = {name: value.double().numpy() for name, value in model.head.state_dict().items()}
    hidden = pooled @ weights["hidden.weight"].T + weights["hidden.bias"]
    spread = np.sqrt(weights["norm.running_var"] + 1e-5)
    hidden = (hidden - weights["norm.running_mean"]) / spread
    hidden = np.maximum(hidden * weights["norm.weight"] + weights["norm.bias"], 0)
    logits: np.ndarray = hidden @ weights["output.weight"].T + weights["output.bias"]
    return logits


def test_labels_are_the_roots_or_the_departments_leaves_in_order(make_model, make_data, shop):
    tree = Hierarchy.from_parquet(shop / "hierarchy.parquet")
    model, data = make_model(), make_data()
    assert model.label_names == [path for path in tree.paths if " > " not in path]
    assert model.nodes.tolist() == data.nodes.tolist()
    model, data = make_model(GARDEN), make_data(GARDEN)
    expected = ["Hoses", "Pots", "Rakes", "Seeds"]
    assert model.label_names == [f"{GARDEN} > {name}" for name in expected]
    assert model.nodes.tolist() == data.nodes.tolist()
    assert make_model("Vouchers").head.output.out_features == 1


@pytest.mark.parametrize(("layers", "used"), [("every_other", [2]), ("all", [1, 2])])
@pytest.mark.parametrize("department", [None, GARDEN])
def test_forward_is_the_composition_of_its_parts(make_model, make_data, department, layers, used):
    model = make_model(department, skip=SkipOptions(layers)).train()
    data = make_data(department)
    for batch in batches(data, "train")[:3]:
        model(batch)  # moves the running statistics
    model.eval()
    for batch in batches(data):
        found = model(batch).detach().numpy()
        assert found.shape == (len(batch.rows), len(model.nodes))
        np.testing.assert_allclose(found, literal_logits(model, batch, used), rtol=1e-3, atol=1e-4)
        part = model(batch, columns=torch.tensor([2, 0])).detach().numpy()
        np.testing.assert_allclose(part, found[:, [2, 0]], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize("department", [None, GARDEN])
def test_evaluation_against_numpy(make_model, make_data, department, temperature):
    """Weighted accuracy, an item of several labels being right with any; loss; probabilities."""
    model = make_model(department, inference_temperature=temperature).eval()
    data = make_data(department)
    with torch.no_grad():
        model.head.output.weight.mul_(50)
        model.head.output.bias[1] += 3  # right now and then
    right, weights, several, losses, counts = [], [], 0, [], []
    for number, batch in enumerate(batches(data)):
        logits = model(batch).detach().double().numpy()
        targets = batch.targets.dense(len(batch.rows), len(model.nodes)).numpy()
        best = logits.argmax(axis=1)
        right += targets[np.arange(len(best)), best].tolist()
        weights += batch.weights.tolist()
        several += int((targets.sum(axis=1) > 1).sum())
        loss, _ = model.evaluate(batch)
        losses.append((np.logaddexp(0, logits) - targets * logits).sum() / len(logits))
        assert loss.item() == pytest.approx(losses[-1], rel=1e-4)
        answer = model.predict_step(batch, number)
        assert answer["documents"].tolist() == list(range(len(best)))
        assert answer["labels"].tolist() == best.tolist()
        expected = 1 / (1 + np.exp(-logits.max(axis=1) / temperature))
        np.testing.assert_allclose(answer["scores"].detach().numpy(), expected, rtol=1e-4)
        counts.append(len(best))
    assert several == (1 if department is None else 0)
    assert len(set(weights)) > 1
    accuracy = np.average(right, weights=weights)
    assert 0 < accuracy < 1
    assert accuracy != pytest.approx(np.mean(right))
    assert model.accuracy.compute().item() == pytest.approx(accuracy, rel=1e-5)


def test_lightning_logs_the_accuracy_of_the_whole_split(make_model, make_data):
    model, data = make_model(), make_data()
    (logged,) = trainer().test(model, data, verbose=False)
    model.eval()
    right, weights = [], []
    for batch in data.test_dataloader():
        best = model(batch).argmax(dim=1)
        targets = batch.targets.dense(len(batch.rows), len(model.nodes))
        right += targets[torch.arange(len(best)), best].tolist()
        weights += batch.weights.tolist()
    assert logged["test/accuracy"] == pytest.approx(np.average(right, weights=weights), rel=1e-5)
    assert {"test/loss", "test/micro_f1"} <= set(logged)


WIDTH, INNER, LAYERS = 16, 40, 6
# Queries, keys, values, output; two layers forward; two norms.
LAYER_SIZE = 4 * (WIDTH * WIDTH + WIDTH) + 2 * WIDTH * INNER + INNER + WIDTH + 2 * 2 * WIDTH


@pytest.fixture
def six_layers(tmp_path, make_model) -> Path:
    """Weights of an encoder with six layers and two segments."""
    size = make_model().backbone.encoder.config.vocab_size
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=size,
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=2,
        intermediate_size=INNER,
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(tmp_path / "six")
    return tmp_path / "six"


def size_of(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("kept", [2, 4])
def test_pruned_encoders_lose_exactly_the_weights_of_their_upper_layers(
    make_model, make_data, six_layers, kept
):
    skip = SkipOptions("all")

    def build(num_layers: int | None) -> ProductClassifier:
        options = BackboneOptions(str(six_layers), num_layers=num_layers, num_segments=3)
        return make_model(backbone=options, skip=skip)

    whole, pruned = build(None), build(kept)
    assert size_of(whole) - size_of(pruned) == (LAYERS - kept) * LAYER_SIZE
    layers = {name.split("layer.")[1][0] for name in pruned.state_dict() if ".layer." in name}
    assert layers == {str(number) for number in range(kept)}
    pruned.head.load_state_dict(whole.head.state_dict())
    batch = batches(make_data())[0]
    expected = literal_logits(whole.eval(), batch, list(range(1, kept + 1)))
    found = pruned.eval()(batch).detach().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)


def test_a_third_segment_is_told_apart_once_trained(make_model, make_data, six_layers):
    """The first two rows are the checkpoint's; titles, descriptions and bullets have a row each."""
    options = BackboneOptions(str(six_layers), num_segments=3)
    model, data = make_model(backbone=options), make_data()
    table = model.backbone.encoder.embeddings.token_type_embeddings.weight
    before = BertModel.from_pretrained(six_layers, add_pooling_layer=False)
    rows: Tensor = before.embeddings.token_type_embeddings.weight
    assert table.shape == (3, WIDTH)
    assert torch.equal(table[:2], rows)
    used = {
        int(number) for batch in batches(data) for number in batch.tokens.token_type_ids.unique()
    }
    assert used == {0, 1, 2}
    trainer(max_epochs=1).fit(model, data)
    assert not torch.equal(table[1], table[2])
