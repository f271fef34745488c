"""Department and leaf classifiers on the small catalogue, against their parts by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from torch import Tensor
from transformers import BertConfig, BertModel

from data_modules.batching import BatchOptions
from data_modules.classification import DepartmentDataModule, LeafDataModule
from data_modules.sampling import SamplingOptions
from data_modules.wordpiece import train_wordpiece
from hierarchy_lm.backbones import BackboneOptions
from hierarchy_lm.batches import ProductBatch
from hierarchy_lm.classification import DepartmentClassifier, LeafClassifier
from hierarchy_lm.classification.base import ProductClassifier
from hierarchy_lm.classification.network import load_network
from hierarchy_lm.errors import UserError
from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.losses import DHPCOptions
from hierarchy_lm.losses.dhpc_options import (
    BootstrapOptions,
    NegativeOptions,
    TemperatureOptions,
)
from hierarchy_lm.nn import HeadOptions, SkipOptions
from hierarchy_lm.optimizers import OptimizerOptions
from hierarchy_lm.text import TextOptions

HEAD = HeadOptions(hidden=24, dropout=0.1)
TEXT = TextOptions(max_length=20, segments="fields")
GARDEN = "Home: Garden"
RECIPE = DHPCOptions(
    bootstrap=BootstrapOptions(beta=0.9, over="sampled"),
    negatives=NegativeOptions(keep=0.7, sampler="semantic", per="batch"),
    temperature=TemperatureOptions(train=0.9),
)


@pytest.fixture(scope="module")
def tokenizer(shop: Path) -> str:
    return str(train_wordpiece(shop, 500))


@pytest.fixture
def make_model(shop, tokenizer):
    def build(department: str | None = None, tree: Path | None = None, **changes: Any):
        torch.manual_seed(0)
        options = {
            "backbone": BackboneOptions("tiny", num_segments=3),
            "head": HEAD,
            "optimizer": OptimizerOptions(lr=0.003),
        } | changes
        file = str(tree or shop / "hierarchy.parquet")
        if department is None:
            return DepartmentClassifier(file, tokenizer, **options)
        return LeafClassifier(file, department, tokenizer, **options)

    return build


@pytest.fixture
def make_data(shop, tokenizer):
    def build(department: str | None = None, **changes: Any):
        options = {
            "text": TEXT,
            "batch": BatchOptions(documents=16),
            "sampling": SamplingOptions(),
        } | changes
        if department is None:
            return DepartmentDataModule(str(shop), tokenizer, **options)
        return LeafDataModule(str(shop), department, tokenizer, **options)

    return build


def trainer(**options: Any) -> Trainer:
    settings = {"max_epochs": 1, "limit_val_batches": 0} | options
    return Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **settings,
    )


def batches(data, split: str = "validation") -> list[ProductBatch]:
    data.setup("fit")
    return list(data.train_dataloader() if split == "train" else data.val_dataloader())


def mean_loss(model: ProductClassifier, data) -> float:
    """On the items it learned from: a few dozen others would say little."""
    model.eval()
    losses = [
        (model.evaluate(batch)[0].item(), len(batch.rows)) for batch in batches(data, "train")
    ]
    model.f1.reset()
    model.accuracy.reset()
    model.train()  # Lightning would train on in eval mode
    return sum(loss * count for loss, count in losses) / sum(count for _, count in losses)


def refusal(call, kind=UserError) -> str:
    with pytest.raises(kind) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


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


@pytest.mark.parametrize("loss", [DHPCOptions(), RECIPE], ids=["plain", "recipe"])
@pytest.mark.parametrize("department", [None, GARDEN])
def test_training_reduces_the_loss(make_model, make_data, department, loss):
    model, data = make_model(department, loss=loss), make_data(department)
    before = mean_loss(model, data)
    trainer(max_epochs=-1, max_steps=240).fit(model, data)
    assert mean_loss(model, data) < 0.6 * before
    model.eval()
    for batch in batches(data, "train"):
        model.evaluate(batch)
    assert model.accuracy.compute() > 0.8


def test_a_last_batch_of_one_document_trains(make_model, make_data):
    """64 of the garden's items and one of two departments: 65 are four batches and one."""
    data = make_data(GARDEN)
    assert sorted(len(batch.rows) for batch in batches(data, "train")) == [1, 16, 16, 16, 16]
    model = make_model(GARDEN)
    trainer().fit(model, data)
    assert model.head.norm.num_batches_tracked == 4
    assert all(value.isfinite().all() for value in model.state_dict().values())


def test_a_rank_that_repeats_a_document_leaves_the_statistics_alone(make_model, make_data):
    model = make_model().train()
    batch = batches(make_data(), "train")[0]
    before = model.head.norm.running_mean.clone()
    model(batch._replace(loss_scale=0.0))
    assert torch.equal(model.head.norm.running_mean, before)
    model(batch)
    assert not torch.equal(model.head.norm.running_mean, before)


@pytest.fixture
def trained(make_model, make_data, tmp_path) -> tuple[ProductClassifier, Path]:
    model, run = make_model("123", loss=RECIPE, inference_temperature=1.5), trainer()
    run.fit(model, make_data("123"))
    run.save_checkpoint(tmp_path / "run.ckpt")
    return model.eval(), tmp_path / "run.ckpt"


def test_a_checkpoint_is_plain_data_and_gives_the_same_logits(trained, make_model, make_data):
    model, file = trained
    checkpoint = torch.load(file, weights_only=True)
    assert checkpoint["hyper_parameters"]["skip"] == {"layers": "every_other", "pool": "mean"}
    again = make_model("123", loss=RECIPE)
    again.on_load_checkpoint(checkpoint)
    again.load_state_dict(checkpoint["state_dict"])
    tree, words = model.fingerprints["tree"], model.fingerprints["tokenizer"]
    network = load_network(file, tree, words, "123")
    for batch in batches(make_data("123")):
        expected = model(batch)
        assert torch.equal(again.eval()(batch), expected)
        torch.testing.assert_close(network(batch.tokens), expected / 1.5)


def test_a_checkpoint_of_other_labels_is_refused(trained, make_model, tmp_path, shop):
    """Of another tree, and of another department of the tree with as many leaves."""
    _, file = trained
    checkpoint = torch.load(file, weights_only=True)
    other = make_model('Größe & "Co" #1', loss=RECIPE)
    assert len(other.nodes) == len(make_model("123").nodes)
    message = refusal(lambda: other.on_load_checkpoint(checkpoint))
    assert message.startswith("checkpoint: made with another label set")
    paths = Hierarchy.from_parquet(shop / "hierarchy.parquet").paths
    grown = Hierarchy.from_paths([path.split(" > ") for path in [*paths, "Void > More"]])
    grown.to_parquet(tmp_path / "grown.parquet")
    other = make_model("123", tmp_path / "grown.parquet", loss=RECIPE)
    message = refusal(lambda: other.on_load_checkpoint(checkpoint))
    assert message.startswith("checkpoint: made with another tree")


def test_data_of_another_department_is_refused_by_its_number_of_labels(make_model, make_data):
    message = refusal(lambda: trainer().test(make_model("123"), make_data(GARDEN)))
    assert message.startswith("the data has 4 labels, the model 3")


def test_bad_arguments_are_refused(make_model):
    assert refusal(lambda: make_model("Toys")).startswith("the tree has no department 'Toys'")
    message = refusal(lambda: make_model(inference_temperature=0.0), ValueError)
    assert message == "inference_temperature must be positive, got 0.0"
    message = refusal(lambda: make_model(skip=SkipOptions([1])), ValueError)
    assert message.startswith("skip.layers lacks the last layer, 2")


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
