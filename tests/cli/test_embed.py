"""`hlm embed` and `hlm embedding-report` on a small catalogue."""

import json
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from pyarrow import csv
from transformers import AutoModel

from data_modules.batching import BatchOptions
from data_modules.products import ProductDataModule
from hierarchy_lm.cli import main
from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.text import TextOptions

from .conftest import EXPERIMENTS, TINY, hlm_process

SPLITS = ("train", "validation", "test")
EMBED = ["embed", "--config", str(EXPERIMENTS / "embed.yaml"), "--trainer.accelerator=cpu"]
QUIET = "--trainer.enable_progress_bar=false"


@pytest.fixture(scope="module")
def encoder(catalogue, tmp_path_factory):
    """A run of pre-training, and its encoder as a Hugging Face folder."""
    root = tmp_path_factory.mktemp("encoder")
    argv = ["fit", "--config", EXPERIMENTS / "sst.yaml", *TINY, "--trainer.limit_train_batches=3"]
    argv += [f"--data.dataset={catalogue}", f"--trainer.default_root_dir={root}"]
    assert main(list(map(str, argv))) == 0
    run, exported = root / "version_0", root / "exported"
    assert main(["export", str(run), str(exported)]) == 0
    return run, exported


@pytest.fixture(scope="module")
def folders(catalogue, encoder, tmp_path_factory):
    """Embeddings of the run's [CLS], and of the exported encoder's mean in half precision."""
    root, (run, exported) = tmp_path_factory.mktemp("embeddings"), encoder
    options = {
        "cls": [f"--model.backbone.init_from={run}"],
        "mean": [
            *(f"--model.backbone.pretrained={exported}", "--model.backbone.name=tiny"),
            *("--model.pooling=mean", "--model.dtype=float16", "--data.batch.documents=7"),
        ],
    }
    for name, own in options.items():
        output = f"--output={root / name}"
        assert main([*EMBED, f"--data.dataset={catalogue}", output, QUIET, *own]) == 0
    return {name: root / name for name in options}


@pytest.fixture(scope="module")
def expected(catalogue, encoder):
    """Item, split, nodes, and the last hidden states of the exported model, one text at a time."""
    model = AutoModel.from_pretrained(encoder[1]).eval()
    tree = Hierarchy.from_parquet(catalogue / "hierarchy.parquet")
    found = {}
    for split in SPLITS:
        options = (str(encoder[1]), TextOptions(max_length=48), BatchOptions())
        data = ProductDataModule(str(catalogue), *options, predict_split=split)
        data.setup("predict")
        rows = pq.read_table(sorted((catalogue / "products").glob(f"{split}-*.parquet")))
        for row, (item, nodes) in enumerate(
            zip(*rows.select([0, 4]).to_pydict().values(), strict=True)
        ):
            names = ("input_ids", "token_type_ids", "attention_mask")
            tokens = dict(zip(names, data.stores[split].tokens(np.array([row])), strict=True))
            with torch.no_grad():
                states = model(**{name: torch.from_numpy(t) for name, t in tokens.items()})
            closed = sorted({above for node in nodes for above in [node, *tree.ancestors(node)]})
            found[item] = (split, closed, states.last_hidden_state[0].numpy())
    return found


@pytest.mark.parametrize(("name", "tolerance"), [("cls", 1e-5), ("mean", 2e-3)])
def test_every_item_with_its_split_its_nodes_and_its_vector(folders, expected, name, tolerance):
    table = pq.read_table(folders[name] / "part-00000.parquet")
    kind = {"cls": pa.float32(), "mean": pa.float16()}[name]
    assert table.schema.field("embedding").type == pa.list_(kind, 32)
    assert sorted(table["item_id"].to_pylist()) == sorted(expected)
    for row in table.to_pylist():
        split, nodes, states = expected[row["item_id"]]
        assert (row["split"], row["node_ids"]) == (split, nodes)
        vector = states[0] if name == "cls" else states.mean(axis=0)
        assert row["embedding"] == pytest.approx(vector, abs=tolerance)


def test_folder_says_what_it_holds(folders, encoder, catalogue):
    info = json.loads((folders["cls"] / "embeddings.json").read_text())
    dataset = json.loads((catalogue / "dataset.json").read_text())
    assert info["source"] == str(encoder[0])
    assert info["dataset_fingerprint"] == dataset["fingerprint"]
    tree = Hierarchy.from_parquet(folders["cls"] / "hierarchy.parquet")
    assert info["tree_fingerprint"] == tree.fingerprint
    assert (info["split"], info["size"], info["dimensions"]) == ("all", 600, 32)
    assert len(info["tokenizer"]) == 64
    names = {path.name for path in folders["cls"].iterdir()}
    records = {"config.yaml", "run.json"}
    assert names == {*records, "embeddings.json", "hierarchy.parquet", "part-00000.parquet"}


def test_report_of_two_encoders(hlm, folders, tmp_path):
    status, out, err = hlm("embedding-report", *folders.values(), "--names", "SST", "a <mean>")
    assert status == 0, err
    report = tmp_path / "embedding_report"
    text, page = (report / "report.md").read_text(), (report / "report.html").read_text()
    assert re.findall(r"embedding_report/report\.\w+", out) == [
        "embedding_report/report.md",
        "embedding_report/report.html",
    ]
    titles = [line[3:] for line in text.splitlines() if line.startswith("## ")]
    assert len(titles) == 5
    pictures = re.findall(r"\]\((.+?\.svg)\)", text)
    assert pictures == ["distances.svg", "space-1.svg", "space-2.svg"]
    assert all((report / name).read_text().startswith("<svg") for name in pictures)
    assert page.count("data:image/svg+xml") == 3
    assert "a &lt;mean&gt;" in page
    assert "<mean>" not in page + (report / "distances.svg").read_text()
    assert "nan" not in re.findall(r"\w+", text)
    neighbours = csv.read_csv(report / "neighbours.csv").to_pylist()
    assert {(row["encoder"], row["level"], row["k"]) for row in neighbours} == {
        (name, level, k)
        for name in ("SST", "a <mean>")
        for level in (1, 2, 3, 4)
        for k in (1, 5, 10)
    }
    assert {row["encoder"] for row in csv.read_csv(report / "probe.csv").to_pylist()} == {
        "SST",
        "a <mean>",
    }
    for name in ("distances", "correlations"):
        assert csv.read_csv(report / f"{name}.csv").num_rows >= 2


def test_one_split_again_into_the_same_folder_and_a_report_without_a_probe(
    hlm, catalogue, tmp_path
):
    own = ["--model.backbone.name=tiny", f"--data.dataset={catalogue}", QUIET]
    for split in ("train", "test"):
        status, out, err = hlm(*EMBED, *own, f"--data.predict_split={split}", "--output", "e")
        assert status == 0, err
        assert "e/embeddings.json" in out
    rows = pq.read_table(sorted((catalogue / "products").glob("test-*.parquet")))
    table = pq.read_table(tmp_path / "e" / "part-00000.parquet")
    assert sorted(table["item_id"].to_pylist()) == sorted(rows["item_id"].to_pylist())
    assert set(table["split"].to_pylist()) == {"test"}
    status, _, err = hlm("embedding-report", "e", "--output", "report")
    assert status == 0, err
    assert "Needs all three splits" in (tmp_path / "report" / "report.md").read_text()
    assert not (tmp_path / "report" / "probe.csv").exists()


def test_mistakes_are_said_in_one_line(hlm, folders, catalogue, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    own = ["--model.backbone.name=tiny", f"--data.dataset={catalogue}", QUIET]
    other = tmp_path / "other"
    other.mkdir()
    for file in folders["cls"].iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    info = json.loads((other / "embeddings.json").read_text())
    (other / "embeddings.json").write_text(json.dumps(info | {"dataset_fingerprint": "x"}))
    cls, mean = folders.values()
    for argv, words in [
        ([*EMBED, *own, "--output=mine"], "thesis.txt"),
        (["fit", *EMBED[1:], *own], "hlm embed"),
        (["embedding-report", tmp_path / "mine"], "embeddings.json"),
        (["embedding-report", cls, other], "another dataset"),
        (["embedding-report", cls, mean, "--names", "one"], "2 different ones"),
        (["embedding-report", cls, "--split", "elsewhere"], "elsewhere"),
        (["embedding-report", cls, "--queries", "0"], "queries"),
    ]:
        status, _, err = hlm(*argv)
        assert (status, words in err) == (2, True), err
        assert len([line for line in err.splitlines() if line.startswith("hlm:")]) == 1
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


@pytest.mark.ddp
@pytest.mark.slow
def test_two_ranks_share_the_items(catalogue, encoder, folders, tmp_path):
    process = hlm_process(
        *(*EMBED, f"--data.dataset={catalogue}", f"--output={tmp_path / 'two'}", QUIET),
        *(f"--model.backbone.init_from={encoder[0]}", "--data.batch.documents=9"),
        *("--trainer.devices=2", "--trainer.strategy=DDPStrategy"),
        "--trainer.strategy.process_group_backend=gloo",
    )
    out, _ = process.communicate(timeout=240)
    assert process.returncode == 0, out
    parts = sorted((tmp_path / "two").glob("part-*"))
    assert [part.name for part in parts] == ["part-00000.parquet", "part-00001.parquet"]
    assert all(pq.read_metadata(part).num_rows > 100 for part in parts)
    two, one = (
        pq.read_table(sorted(folder.glob("part-*"))).sort_by("item_id")
        for folder in (tmp_path / "two", folders["cls"])
    )
    for name in ("item_id", "split", "node_ids"):
        assert two[name].to_pylist() == one[name].to_pylist()
    assert np.array(two["embedding"].to_pylist()) == pytest.approx(
        np.array(one["embedding"].to_pylist()), abs=1e-5
    )
    info = json.loads((tmp_path / "two" / "embeddings.json").read_text())
    assert info["size"] == 600
    assert out.count("embeddings.json") == 1
