"""What pre-training saw is what the exported encoder gives, bit by bit."""

import pytest
import torch
import yaml
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer

from hierarchy_lm.backbones import BackboneOptions
from hierarchy_lm.batches import ProductBatch, SparseTargets, TokenBatch
from hierarchy_lm.nn import StructuralOptions
from hierarchy_lm.pretraining import NodeOnlyPretrainer, SSTPretrainer

from .conftest import EXPERIMENTS, TINY

TEXTS = ["Red running shoe", "a wooden table for the garden, 120 cm", ""]
MODELS = {
    "sst/sequential_dependency_mask": lambda *data: SSTPretrainer(
        *data,
        BackboneOptions("tiny", vocab_size=8000),
        StructuralOptions(readout="sequential", mask="prev_only"),
    ),
    "baselines/node_only": lambda *data: NodeOnlyPretrainer(
        *data, BackboneOptions("tiny", vocab_size=8000)
    ),
}


@pytest.mark.parametrize("experiment", MODELS)
def test_exported_encoder_gives_the_cls_that_pretraining_ends_with(
    hlm, catalogue, tmp_path, experiment
):
    status, _, err = hlm(
        *("fit", "--config", EXPERIMENTS / f"{experiment}.yaml", *TINY),
        *("--trainer.limit_train_batches=3", f"--data.dataset={catalogue}"),
        f"--trainer.default_root_dir={tmp_path}",
    )
    assert status == 0, err
    run, folder = tmp_path / "version_0", tmp_path / "encoder"
    status, _, err = hlm("export", run, folder)
    assert status == 0, err
    tokens = AutoTokenizer.from_pretrained(folder)(TEXTS, padding=True, return_tensors="pt")
    model = trained(experiment, run, catalogue)
    with torch.no_grad():
        batch = TokenBatch(tokens["input_ids"], tokens["token_type_ids"], tokens["attention_mask"])
        ours = model.backbone(batch)
        theirs = AutoModel.from_pretrained(folder).eval()(**tokens).last_hidden_state[:, 0]
        assert torch.equal(ours, theirs)
        nothing = SparseTargets(torch.empty(0).long(), torch.empty(0).long())
        logits = model(ProductBatch(batch, nothing, torch.arange(3), torch.ones(3), 1.0))
        above = model.structural(theirs) if hasattr(model, "structural") else None
        assert torch.equal(logits, model.head.of_one(theirs) if above is None else above)
    stored = load_file(folder / "model.safetensors")
    assert set(stored) == set(model.backbone.encoder.state_dict())  # and nothing from above it


def trained(experiment, run, catalogue):
    """The module as it was when the best checkpoint was written."""
    config = yaml.safe_load((run / "config.yaml").read_text())
    tokenizer = config["model"]["init_args"].get("tokenizer") or str(run / "tokenizer")
    model = MODELS[experiment](str(catalogue / "hierarchy.parquet"), tokenizer)
    checkpoint = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    model.load_state_dict(checkpoint["state_dict"])
    return model.eval()
