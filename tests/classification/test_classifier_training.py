"""Training of department and leaf classifiers, their checkpoints, and what they refuse."""

from pathlib import Path

import pytest
import torch

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
from hierarchy_lm.nn import SkipOptions
from hierarchy_lm.optimizers import OptimizerOptions

from .classifiers import GARDEN, batches, trainer

RECIPE = DHPCOptions(
    bootstrap=BootstrapOptions(beta=0.9, over="sampled"),
    negatives=NegativeOptions(keep=0.7, sampler="semantic", per="batch"),
    temperature=TemperatureOptions(train=0.9),
)
# Down to 0: at a constant rate the last step alone may undo much, on one processor or another.
FALLING = OptimizerOptions(lr=0.005, schedule="linear")


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


@pytest.mark.parametrize("loss", [DHPCOptions(), RECIPE], ids=["plain", "recipe"])
@pytest.mark.parametrize("department", [None, GARDEN])
def test_training_reduces_the_loss(make_model, make_data, department, loss):
    model, data = make_model(department, loss=loss, optimizer=FALLING), make_data(department)
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
