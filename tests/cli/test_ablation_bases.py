"""What DHPC's grids start from, through the command, with the smoke scale on top."""

import json

import pytest

from .conftest import EXPERIMENTS

SMOKE = EXPERIMENTS / "scale" / "smoke.yaml"


@pytest.mark.parametrize("base", ["department", "leaf", "leaf_recipe"])
def test_a_base_is_trained_and_tested_at_the_smoke_scale(base, hlm, tmp_path):
    status, _, err = hlm(
        *("fit", "--config", EXPERIMENTS / "ablations" / "base" / f"{base}.yaml"),
        *("--config", SMOKE, f"--trainer.default_root_dir={tmp_path}"),
        "--trainer.enable_progress_bar=false",
    )
    assert status == 0, err
    run = json.loads((tmp_path / "version_0" / "run.json").read_text())
    assert (run["state"], run["steps"]) == ("finished", 4)
    assert 0 <= run["metrics"]["test/accuracy"] <= 1


def test_a_gate_is_a_share_of_the_steps_that_are_planned(hlm, tmp_path):
    """Of four steps a gate of a half is the third step; one of 0.9 is none: plain BCE."""
    losses = {}
    for gate in ("0.5", "2", "0.9", "4"):
        status, _, err = hlm(
            *("fit", "--config", EXPERIMENTS / "ablations" / "base" / "department.yaml"),
            *("--config", SMOKE, f"--trainer.default_root_dir={tmp_path / gate}"),
            *("--model.backbone.name=tiny", "--trainer.enable_progress_bar=false"),
            *("--model.loss.bootstrap.beta=0.3", f"--model.loss.bootstrap.t_gate={gate}"),
            "--test_after_fit=false",
        )
        assert status == 0, err
        metrics = json.loads((tmp_path / gate / "version_0" / "fit.json").read_text())
        losses[gate] = metrics["val/loss"]
    assert losses["0.5"] == losses["2"]
    assert losses["0.9"] == losses["4"] != losses["2"]
