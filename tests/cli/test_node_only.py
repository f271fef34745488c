"""Nodes that compete in node-only pre-training are taken from the training split and kept."""

import json

import pyarrow.parquet as pq
import torch

from hierarchy_lm.hierarchy import Hierarchy

from .conftest import EXPERIMENTS, TINY


def test_observed_nodes_are_kept_in_the_checkpoint(hlm, catalogue, tmp_path):
    options = [
        *("--config", EXPERIMENTS / "baselines" / "node_only.yaml", *TINY),
        *("--model.nodes=observed", "--model.loss=ce", "--model.path_mode=sample_one"),
        *(f"--data.dataset={catalogue}", f"--trainer.default_root_dir={tmp_path}"),
        "--trainer.limit_train_batches=3",
    ]
    status, _, err = hlm("fit", *options)
    assert status == 0, err
    file = tmp_path / "version_0" / "checkpoints" / "best.ckpt"
    competing = torch.load(file, weights_only=True)["state_dict"]["competing"]
    assert competing.nonzero().flatten().tolist() == sorted(ends_of_training_paths(catalogue))
    assert not competing.all()
    status, _, err = hlm("test", *options, "--ckpt_path=best")
    assert status == 0, err
    scores = json.loads((tmp_path / "version_1" / "test.json").read_text())
    assert scores["test/path_consistency"] in (0.0, 1.0)  # completed paths; none if none is found
    assert 0 < scores["test/loss"] < float("inf")


def ends_of_training_paths(catalogue) -> set[int]:
    tree = Hierarchy.from_parquet(catalogue / "hierarchy.parquet")
    ends = set()
    for shard in (catalogue / "products").glob("train-*.parquet"):
        for nodes in pq.read_table(shard)["node_ids"].to_pylist():
            ends |= set(nodes) - {above for node in nodes for above in tree.ancestors(node)}
    return ends
