"""Bad input through the command: one line, status 2, nothing lost silently."""

import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ..conftest import as_older_release, seal
from .conftest import EXPERIMENTS, TINY, assert_refused

FEW = ["--trainer.limit_train_batches=1", "--trainer.limit_val_batches=1"]


@pytest.fixture
def broken(catalogue, tmp_path):
    """A copy of the catalogue to break, without its caches."""
    folder = tmp_path / "broken"
    shutil.copytree(catalogue, folder, ignore=shutil.ignore_patterns(".cache"))
    return folder


@pytest.fixture
def fit(hlm):
    def run(dataset, *args, experiment="sst"):
        return hlm(
            *("fit", "--config", EXPERIMENTS / f"{experiment}.yaml", *TINY, *FEW),
            *(f"--data.dataset={dataset}", "--trainer.default_root_dir=runs", *args),
        )

    return run


def train_shard(dataset):
    return next(iter(sorted((dataset / "products").glob("train-*.parquet"))))


def rewrite(shard, change):
    """Another content, written so in the first place."""
    pq.write_table(change(pq.read_table(shard)), shard)
    seal(shard.parents[1])


def replace(table, name, values):
    position = table.schema.get_field_index(name)
    return table.set_column(
        position, table.schema.field(position), pa.array(values, table.schema.field(name).type)
    )


def test_missing_column(fit, broken):
    rewrite(train_shard(broken), lambda table: table.drop_columns(["description"]))
    assert_refused(fit(broken), train_shard(broken).name, "'description'")


def test_unknown_node(fit, broken):
    def change(table):
        nodes = table["node_ids"].to_pylist()
        nodes[7] = [99999]
        return replace(table, "node_ids", nodes)

    rewrite(train_shard(broken), change)
    assert_refused(fit(broken), train_shard(broken).name, "row 7", "99999")


def test_broken_tree(fit, broken):
    file = broken / "hierarchy.parquet"
    table = pq.read_table(file)
    parents = table["parent_id"].to_pylist()
    parents[-1] = len(parents) - 1
    pq.write_table(replace(table, "parent_id", parents), file)
    seal(broken)
    assert_refused(fit(broken), "hierarchy.parquet", "parent_id")


def test_empty_folder(fit, tmp_path):
    (tmp_path / "nothing").mkdir()
    assert_refused(fit(tmp_path / "nothing"), "nothing", "dataset.json")


def test_no_such_dataset(fit, tmp_path):
    assert_refused(fit(tmp_path / "absent"), "absent", "hlm prepare")


@pytest.mark.parametrize("keep", [0, 100, 5000])
def test_truncated_and_zero_byte_shard(fit, broken, keep):
    shard = train_shard(broken)
    shard.write_bytes(shard.read_bytes()[:keep])
    assert_refused(fit(broken), shard.name)


def test_zeroed_pages(fit, broken):
    shard = train_shard(broken)
    content = bytearray(shard.read_bytes())
    content[200:2200] = bytes(2000)
    shard.write_bytes(content)
    assert_refused(fit(broken), shard.name, "cannot be read")


def test_missing_descriptions_everywhere_are_fine(fit, broken):
    shard = train_shard(broken)
    rewrite(shard, lambda table: replace(table, "description", [None] * len(table)))
    status, _, err = fit(broken)
    assert status == 0, err


def test_empty_texts_and_a_10_mb_text_are_fine(fit, broken):
    shard = train_shard(broken)

    def change(table):
        titles = [""] * len(table)
        titles[0] = "word " * 2_000_000
        table = replace(table, "title", titles)
        return replace(table, "description", [None] * len(table))

    rewrite(shard, change)
    status, _, err = fit(broken)
    assert status == 0, err
    assert f"{pq.read_metadata(shard).num_rows:,} rows" in err


def test_invalid_utf8_is_counted(fit, broken):
    shard = train_shard(broken)
    table = pq.read_table(shard)
    raw = [(title or "").encode() for title in table["title"].to_pylist()]
    raw[0] = b"caf\xe9 chair"
    titles = pa.array(raw, pa.binary()).view(pa.string())
    position = table.schema.get_field_index("title")
    pq.write_table(table.set_column(position, "title", titles), shard)
    seal(broken)
    status, _, err = fit(broken)
    assert status == 0, err
    assert "1 texts with invalid UTF-8" in err


def test_checkpoint_of_another_tree(fit, catalogue, broken):
    assert fit(catalogue)[0] == 0
    file = as_older_release(broken) / "hierarchy.parquet"
    table = pq.read_table(file)
    last = table["path"].to_pylist()[-1]
    changed = [f"{path}x" if path == last else path for path in table["path"].to_pylist()]
    names = [path.split(" > ")[-1] for path in changed]
    pq.write_table(replace(replace(table, "path", changed), "name", names), file)
    result = fit(broken, "--ckpt_path=last")
    assert_refused(result, "category tree")


def test_checkpoint_of_another_tokenizer(fit, catalogue):
    assert fit(catalogue, "--model.backbone.vocab_size=300")[0] == 0
    result = fit(catalogue, "--model.backbone.vocab_size=320", "--ckpt_path=last")
    assert_refused(result, "tokenizer")


def test_broken_checkpoint(fit, catalogue, tmp_path):
    (tmp_path / "bad.ckpt").write_bytes(b"not a checkpoint")
    assert_refused(fit(catalogue, f"--ckpt_path={tmp_path / 'bad.ckpt'}"), "bad.ckpt")


@pytest.mark.parametrize(
    ("line", "mistyped", "named"),
    [
        ("schedule: linear", "shedule: linear", "shedule"),
        ("max_epochs:", "max_epoch:", "max_epoch"),
        ("structural:", "structure:", "structure"),
        ("class_path: SSTPretrainer", "class_path: SSTPretrainr", "SSTPretrainr"),
        ("dataset: sample", "datasets: sample", "datasets"),
    ],
)
def test_typo_in_a_key(hlm, tmp_path, line, mistyped, named):
    text = (EXPERIMENTS / "sst.yaml").read_text()
    assert line in text
    (tmp_path / "typo.yaml").write_text(text.replace(line, mistyped))
    assert_refused(hlm("fit", "--config", tmp_path / "typo.yaml"), named)


@pytest.mark.parametrize(
    ("flag", "named"),
    [
        ("--model.optimizer.lr=-1", "optimizer.lr"),
        ("--data.batch.tokens=0", "batch.tokens"),
        ("--data.text.max_length=3", "max_length"),
        ("--model.structural.num_heads=7", "num_heads"),
        ("--model.level_weights=[1.0]", "level_weights"),
        ("--model.backbone.name=nope", "nope"),
        ("--model.node_reduction=average", "average"),
        ("--trainer.max_epoch=2", "max_epoch"),  # the beginning of an option's name
    ],
)
def test_values_that_a_constructor_refuses(fit, catalogue, flag, named):
    assert_refused(fit(catalogue, flag), named)


def test_checkpoint_of_another_size(fit, catalogue):
    assert fit(catalogue)[0] == 0
    result = fit(catalogue, "--model.structural.ffn_size=24", "--ckpt_path=last")
    assert_refused(result, "structural.layers.0", "config.yaml")


def test_flipped_bit_in_a_checkpoint(fit, catalogue, tmp_path):
    assert fit(catalogue)[0] == 0
    checkpoint = tmp_path / "runs" / "version_0" / "checkpoints" / "last.ckpt"
    content = bytearray(checkpoint.read_bytes())
    content[len(content) // 2] ^= 1
    checkpoint.write_bytes(content)
    assert_refused(fit(catalogue, "--ckpt_path=last"), "last.ckpt", "checksum")


@pytest.mark.parametrize("command", ["validate", "test", "predict"])
def test_no_checkpoint_to_evaluate(hlm, catalogue, command):
    result = hlm(
        *(command, "--config", EXPERIMENTS / "sst.yaml", *TINY, f"--data.dataset={catalogue}")
    )
    assert_refused(result, command, "--ckpt_path")


def test_endless_training_needs_a_number_of_steps(fit, catalogue):
    assert_refused(fit(catalogue, "--trainer.max_epochs=-1"), "max_steps")


def test_no_hub_within_reach(fit, catalogue, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    result = fit(catalogue, "--model.backbone.name=albert_base", "--model.backbone.pretrained=hub")
    assert_refused(result, "albert", "pretrained")


def test_folder_that_cannot_be_written(hlm, catalogue, tmp_path):
    (tmp_path / "file").write_text("a file, not a folder")
    result = hlm(
        *("fit", "--config", EXPERIMENTS / "sst.yaml", *TINY),
        *(
            f"--data.dataset={catalogue}",
            f"--trainer.default_root_dir={tmp_path / 'file' / 'runs'}",
        ),
    )
    assert_refused(result, "file/runs", "default_root_dir")


def test_missing_config_file(hlm):
    assert_refused(hlm("fit", "--config", "absent.yaml"), "absent.yaml")


def test_unknown_command(hlm):
    assert_refused(hlm("train"), "train", "hlm --help")


def test_model_on_data_of_another_kind(fit, catalogue):
    result = fit(catalogue, "--data=TaskDataModule", "--data.task=query_product")
    assert_refused(result, "4 labels", "DataModule of its own")


def test_unknown_task(fit, catalogue):
    result = fit(catalogue, "--data.task=nope", experiment="finetune_pc")
    assert_refused(result, "nope")
