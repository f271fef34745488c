"""What the tests of every hierarchy pre-training do with its run."""

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer

from hierarchy_lm.backbones import BackboneOptions
from hierarchy_lm.batches import TokenBatch

TEXTS = ["Red running shoe", "a wooden table for the garden, 120 cm", ""]


def predict_test_items(hlm, run, catalogue, root, *options) -> pa.Table:
    """Predictions of the first run below ``root``: each test item of the catalogue once."""
    status, _, err = hlm(
        *("predict", "--config", run / "config.yaml", "--ckpt_path=best"),
        *(f"--data.dataset={catalogue}", f"--trainer.default_root_dir={root}", *options),
    )
    assert status == 0, err
    table = pq.read_table(sorted((root / "version_1" / "predictions").glob("*.parquet")))
    expected = pq.read_table(sorted((catalogue / "products").glob("test-*.parquet")))["item_id"]
    assert sorted(table["item_id"].to_pylist()) == sorted(expected.to_pylist())
    return table


def assert_same_when_resumed(fit, root) -> list[str]:
    """Two epochs end with the same weights as one that is resumed for a second.

    Args:
        fit: Fits below a folder with further arguments, for an epoch unless they say otherwise.
        root: Folder for the runs.

    Returns:
        What the first and the second part said.
    """
    steady = ["--model.optimizer.schedule=constant", "--model.optimizer.warmup=0"]
    fit(root / "whole", *steady, "--trainer.max_epochs=2")
    said = [fit(root / "parts", *steady)]
    last = root / "parts" / "version_0" / "checkpoints" / "last.ckpt"
    said.append(fit(root / "parts", *steady, f"--ckpt_path={last}", "--trainer.max_epochs=2"))
    one, other = (
        torch.load(root / run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for run in ("whole/version_0", "parts/version_1")
    )
    for name, value in one.items():
        assert torch.equal(value, other[name]), name
    return said


def best_of(model_class, run, catalogue, **options) -> tuple:
    """A run's model with its best weights, in evaluation mode, and the checkpoint."""
    tree, tokenizer = str(catalogue / "hierarchy.parquet"), str(run / "tokenizer")
    backbone = BackboneOptions("tiny", vocab_size=8000)
    model = model_class(tree, tokenizer, backbone, **options).eval()
    checkpoint = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    model.load_state_dict(checkpoint["state_dict"])
    return model, checkpoint


def assert_plain_encoder(model_class, folder, run, catalogue, **options) -> dict:
    """The exported encoder gives the model's own [CLS] of plain texts, and holds nothing else.

    Args:
        model_class: The module of the run.
        folder: What was exported.
        run: From where.
        catalogue: The run's dataset.
        options: Of the module, where the run departed from the defaults.

    Returns:
        The checkpoint.
    """
    model, checkpoint = best_of(model_class, run, catalogue, **options)
    tokens = AutoTokenizer.from_pretrained(folder)(TEXTS, padding=True, return_tensors="pt")
    batch = TokenBatch(tokens["input_ids"], tokens["token_type_ids"], tokens["attention_mask"])
    with torch.no_grad():
        theirs = AutoModel.from_pretrained(folder).eval()(**tokens).last_hidden_state[:, 0]
        assert torch.equal(model.backbone(batch), theirs)
    stored = load_file(folder / "model.safetensors")
    assert set(stored) == set(model.backbone.encoder.state_dict())
    rows = len(stored["embeddings.word_embeddings.weight"])
    assert rows == len(AutoTokenizer.from_pretrained(folder))  # V, and none of nodes
    return checkpoint
