"""From a shop's files to predictions in its own keys, through the commands alone."""

import pyarrow.parquet as pq

from .conftest import EXPERIMENTS, TINY

WORDS = {"t1": "tent", "t2": "tarpaulin", "b7": "bicycle"}
TREE = "id,parent,label\nroot-a,,Camping\nt1,root-a,Tents\nt2,root-a,Tarps\nb7,,Bikes\n"
PATHS = {"root-a": "Camping", "t1": "Camping > Tents", "t2": "Camping > Tarps", "b7": "Bikes"}
MAPPING = """
name: camping
source: by hand
licence: none
products:
  input: {files: products.csv}
  item_id: sku
  title: name
  paths: [{node: category}]
tree:
  input: {files: tree.csv}
  key: id
  parent: parent
  name: label
"""


def test_keys_go_all_the_way(hlm, tmp_path):
    (tmp_path / "tree.csv").write_text(TREE)
    rows = [
        f"{key}-{n},a {word} of size {n},{key}" for n in range(60) for key, word in WORDS.items()
    ]
    (tmp_path / "products.csv").write_text("\n".join(["sku,name,category", *rows]) + "\n")
    (tmp_path / "mapping.yaml").write_text(MAPPING)
    dataset = tmp_path / "camping"
    status, _, err = hlm("prepare", "--config", tmp_path / "mapping.yaml", f"--output={dataset}")
    assert status == 0, err
    status, out, err = hlm("check", dataset)
    assert (status, err) == (0, "")
    assert "- Tree: 4 nodes on 2 levels" in out
    tree = pq.read_table(dataset / "hierarchy.parquet")
    assert dict(zip(tree["key"].to_pylist(), tree["path"].to_pylist(), strict=True)) == PATHS
    common = ["--config", EXPERIMENTS / "sst.yaml", *TINY, f"--data.dataset={dataset}"]
    common += [f"--trainer.default_root_dir={tmp_path / 'runs'}", "--model.decode.threshold=0.01"]
    for command in (["fit"], ["predict", "--ckpt_path=best"]):
        status, _, err = hlm(*command, *common)
        assert status == 0, err
    rows = pq.read_table(tmp_path / "runs" / "version_1" / "predictions").to_pylist()
    assert {key for row in rows for key in row["keys"]} == set(PATHS)
    for row in rows:
        assert [PATHS[key] for key in row["keys"]] == row["labels"]
