"""Two gloo ranks against one: the same rows, gradient and scores, whole predictions."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from .conftest import EXPERIMENTS, TINY, hlm_process

TOKENS = 512
RANKS = {
    1: ["--trainer.devices=1", f"--data.batch.tokens={TOKENS}", "--data.batch.documents=12"],
    2: [
        "--trainer.devices=2",
        f"--data.batch.tokens={TOKENS // 2}",
        "--data.batch.documents=6",
        "--trainer.strategy=DDPStrategy",
        "--trainer.strategy.process_group_backend=gloo",
    ],
}


def run(*args):
    process = hlm_process(*args, PYTHONPATH=str(Path(__file__).parent))
    out, _ = process.communicate(timeout=240)
    assert process.returncode == 0, out


def options(catalogue, world_size, experiment="sst"):
    return [
        *("--config", EXPERIMENTS / f"{experiment}.yaml", *TINY, "--trainer.accelerator=cpu"),
        *RANKS[world_size],
        f"--data.dataset={catalogue}",
    ]


@pytest.fixture(scope="module")
def fitted(catalogue, tmp_path_factory):
    """Folders of a one-rank and a two-rank run of one epoch, with what each rank saw."""
    return fit_on_ranks("sst", catalogue, tmp_path_factory)


@pytest.fixture(scope="module")
def fitted_classifier(catalogue, tmp_path_factory):
    """The same of a department classifier, whose head normalises over the batch."""
    return fit_on_ranks("department", catalogue, tmp_path_factory)


def fit_on_ranks(experiment, catalogue, tmp_path_factory):
    folders = {}
    for world_size in RANKS:
        folder = tmp_path_factory.mktemp("ddp") / str(world_size)
        run(
            "fit",
            *options(catalogue, world_size, experiment),
            "--trainer.precision=64-true",  # so that only a wrong weighting can make a difference
            "--trainer.callbacks+=ddp_probe.Probe",
            f"--trainer.callbacks.folder={folder}",
            f"--trainer.default_root_dir={folder}",
        )
        folders[world_size] = folder
    return folders


def seen(folder, rank):
    return torch.load(folder / f"rank-{rank}.pt", weights_only=True)


def same_gradients(folders):
    """Those of the first step, which are the same on one rank and on two."""
    one, two = (seen(folders[ranks], 0)["gradients"] for ranks in RANKS)
    assert one.keys() == two.keys()
    for name, gradient in one.items():
        assert torch.allclose(gradient, two[name], rtol=0, atol=1e-9), name
    return one


pytestmark = [pytest.mark.ddp, pytest.mark.slow]


def test_every_labelled_row_once_per_epoch(fitted, catalogue):
    nodes = pq.read_table(sorted((catalogue / "products").glob("train-*.parquet")))["node_ids"]
    labelled = [row for row, ids in enumerate(nodes.to_pylist()) if ids]
    assert sorted(seen(fitted[1], 0)["rows"]) == labelled
    both = seen(fitted[2], 0)["rows"] + seen(fitted[2], 1)["rows"]
    assert sorted(both) == labelled


def test_the_record_counts_the_tokens_of_all_ranks(fitted):
    one, two = (
        json.loads((fitted[ranks] / "version_0" / "run.json").read_text()) for ranks in RANKS
    )
    assert one["tokens"] == two["tokens"] > 0
    assert (one["hardware"]["ranks"], two["hardware"]["ranks"]) == (1, 2)
    assert two["state"] == "finished"


def test_gradient_of_two_ranks_is_that_of_one(fitted):
    same_gradients(fitted)


def test_a_classifier_of_two_ranks_learns_what_one_does(fitted_classifier):
    assert "head.norm.weight" in same_gradients(fitted_classifier)
    states = [
        torch.load(
            fitted_classifier[ranks] / "version_0" / "checkpoints" / "last.ckpt", weights_only=True
        )["state_dict"]
        for ranks in RANKS
    ]
    for name, value in states[0].items():
        assert torch.allclose(value, states[1][name], rtol=0, atol=1e-6), name


def test_masked_tokens_count_alike_on_whichever_rank_they_are(catalogue, tmp_path_factory):
    """Ranks mask different numbers of tokens; the mean is over all of them."""
    folders = fit_on_ranks("mlm", catalogue, tmp_path_factory)
    same_gradients(folders)
    scores = [json.loads((folders[n] / "version_0" / "fit.json").read_text()) for n in RANKS]
    for name in ("val/loss", "val/accuracy", "val/perplexity"):
        assert scores[0][name] == pytest.approx(scores[1][name], rel=1e-4)


def test_scores_and_predictions_do_not_depend_on_ranks(fitted, catalogue, tmp_path):
    checkpoint = fitted[1] / "version_0" / "checkpoints" / "last.ckpt"
    scores, parts = {}, {}
    for world_size in RANKS:
        root = tmp_path / str(world_size)
        for command in ("validate", "predict"):
            run(
                command,
                *options(catalogue, world_size),
                f"--ckpt_path={checkpoint}",
                f"--trainer.default_root_dir={root}",
            )
        scores[world_size] = json.loads((root / "version_0" / "validate.json").read_text())
        files = sorted((root / "version_1" / "predictions").glob("part-*.parquet"))
        assert len(files) == world_size
        parts[world_size] = pq.read_table(files).sort_by("item_id")
    assert scores[1] == pytest.approx(scores[2], rel=1e-5)
    expected = pq.read_table(sorted((catalogue / "products").glob("test-*.parquet")))["item_id"]
    for table in parts.values():
        assert table["item_id"].to_pylist() == sorted(expected.to_pylist())
    assert parts[1]["labels"].to_pylist() == parts[2]["labels"].to_pylist()
