"""What pre-training saw is what the exported encoder gives, bit by bit."""

import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from hierarchy_lm.batches import ProductBatch, SparseTargets, TokenBatch
from hierarchy_lm.nn import StructuralOptions
from hierarchy_lm.pretraining import (
    MultiLabelPretrainer,
    MultiTaskPretrainer,
    NodeOnlyPretrainer,
    SSTPretrainer,
)

from .conftest import EXPERIMENTS, TINY
from .pretrained import TEXTS, assert_plain_encoder, best_of

PREVIOUS = StructuralOptions(readout="sequential", mask="prev_only")
MODELS = {
    "sst/sequential_dependency_mask": (SSTPretrainer, {"structural": PREVIOUS}),
    "baselines/node_only": (NodeOnlyPretrainer, {}),
    "baselines/multi_label": (MultiLabelPretrainer, {}),
    "baselines/multi_task": (MultiTaskPretrainer, {}),
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
    model_class, options = MODELS[experiment]
    assert_plain_encoder(model_class, folder, run, catalogue, **options)
    model, _ = best_of(model_class, run, catalogue, **options)
    tokens = AutoTokenizer.from_pretrained(folder)(TEXTS, padding=True, return_tensors="pt")
    batch = TokenBatch(tokens["input_ids"], tokens["token_type_ids"], tokens["attention_mask"])
    nothing = SparseTargets(torch.empty(0).long(), torch.empty(0).long())
    with torch.no_grad():
        theirs = AutoModel.from_pretrained(folder).eval()(**tokens).last_hidden_state[:, 0]
        logits = model(ProductBatch(batch, nothing, torch.arange(3), torch.ones(3), 1.0))
        above = model.structural(theirs) if hasattr(model, "structural") else None
        assert torch.equal(logits, model.head.of_one(theirs) if above is None else above)
