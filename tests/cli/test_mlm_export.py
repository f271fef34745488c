"""The export of an MLM run: an encoder for all, with the head for those who want it."""

import torch
from transformers import AutoModel, AutoModelForMaskedLM, AutoTokenizer

from hierarchy_lm.backbones import BackboneOptions, find_mlm_head
from hierarchy_lm.export import encoder_of
from hierarchy_lm.run_files import load_checkpoint

from .conftest import EXPERIMENTS, TINY


def test_an_exported_mlm_run_keeps_its_head_and_its_cls(hlm, catalogue, tmp_path):
    status, _, err = hlm(
        *("fit", "--config", EXPERIMENTS / "mlm.yaml", *TINY, "--data.text.max_length=24"),
        *("--trainer.limit_train_batches=2", f"--data.dataset={catalogue}"),
        f"--trainer.default_root_dir={tmp_path}",
    )
    assert status == 0, err
    status, _, err = hlm("export", tmp_path / "version_0", tmp_path / "encoder")
    assert status == 0, err
    checkpoint = load_checkpoint(tmp_path / "version_0" / "checkpoints" / "best.ckpt")
    found = find_mlm_head(BackboneOptions(init_from=str(tmp_path / "encoder"))).weights
    assert len(found) == 5
    for name, value in found.items():
        assert torch.equal(value, checkpoint["state_dict"][f"head.{name}"])
    tokens = AutoTokenizer.from_pretrained(tmp_path / "encoder")("a shoe", return_tensors="pt")
    with torch.no_grad():
        whole = AutoModelForMaskedLM.from_pretrained(tmp_path / "encoder").eval()
        assert torch.equal(whole.cls.predictions.bias, checkpoint["state_dict"]["head.bias"])
        states = AutoModel.from_pretrained(tmp_path / "encoder").eval()(**tokens)
        ours = encoder_of(checkpoint).encoder(**tokens)
        assert torch.equal(states.last_hidden_state, ours.last_hidden_state)
