"""Dataset folders that were mixed up: refused by name before any work, however they are opened."""

import os
import shutil

import pyarrow.parquet as pq
import pytest

from data_modules.sample import SampleOptions, write_sample

from ..conftest import as_older_release, seal
from .conftest import EXPERIMENTS, ROOT, TINY, assert_refused

FEW = ["--trainer.limit_train_batches=1", "--trainer.limit_val_batches=1"]


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """What the same commands made of another catalogue."""
    folder = tmp_path_factory.mktemp("datasets") / "other"
    write_sample(folder, SampleOptions(items=600, nodes=60, depth=4, seed=4))
    return folder


@pytest.fixture
def mixed(catalogue, tmp_path):
    folder = tmp_path / "mixed"
    shutil.copytree(catalogue, folder, ignore=shutil.ignore_patterns(".cache"))
    return folder


def missing(folder, other):
    (folder / "products" / "train-00000.parquet").unlink()


def missing_of_another_task(folder, other):
    (folder / "tasks" / "local_financial" / "test-00000.parquet").unlink()


def missing_tree(folder, other):
    (folder / "hierarchy.parquet").unlink()


def surplus(folder, other):
    shutil.copy(
        other / "products" / "train-00000.parquet", folder / "products" / "train-00001.parquet"
    )


def surplus_garbage(folder, other):
    (folder / "products" / "train-00001.parquet").write_bytes(b"PAR1")


def doubled(folder, other):
    shutil.copy(
        folder / "products" / "train-00000.parquet", folder / "products" / "train-00001.parquet"
    )


def renamed(folder, other):
    (folder / "products" / "validation-00000.parquet").rename(
        folder / "products" / "test-00001.parquet"
    )


def copied_over_another_split(folder, other):
    shutil.copy(
        folder / "products" / "train-00000.parquet", folder / "products" / "test-00000.parquet"
    )


def exchanged(folder, other):
    for_train, for_test = (
        folder / "products" / f"{name}-00000.parquet" for name in ("train", "test")
    )
    for_train.rename(folder / "aside")
    for_test.rename(for_train)
    (folder / "aside").rename(for_test)


def cut(folder, other):
    file = folder / "tasks" / "query_product" / "validation-00000.parquet"
    os.truncate(file, file.stat().st_size - 100)


def emptied(folder, other):
    (folder / "products" / "train-00000.parquet").write_bytes(b"")


def another_version(folder, other):
    shutil.copy(
        other / "products" / "train-00000.parquet", folder / "products" / "train-00000.parquet"
    )


def another_version_of_the_same_size(folder, other):
    file = folder / "products" / "train-00000.parquet"
    content = file.read_bytes()
    writer = content.rindex(b"parquet-cpp")  # the name of the writer, in the footer
    file.write_bytes(content[:writer] + b"PARQUET" + content[writer + 7 :])
    assert pq.read_table(file).num_rows == pq.read_metadata(file).num_rows


def another_tree(folder, other):
    trees = [pq.read_table(place / "hierarchy.parquet") for place in (folder, other)]
    assert len(trees[0]) == len(trees[1])
    assert trees[0]["path"] != trees[1]["path"]
    shutil.copy(other / "hierarchy.parquet", folder)


def another_tree_with_its_entry(folder, other):
    """Whoever copied it repaired dataset.json as well."""
    another_tree(folder, other)
    seal(folder)


def shard_of_another_tree_with_its_entry(folder, other):
    another_version(folder, other)
    seal(folder)


FAULTS = [
    (missing, "products/train-00000.parquet: is missing"),
    (missing_of_another_task, "tasks/local_financial/test-00000.parquet: is missing"),
    (missing_tree, "mixed/hierarchy.parquet: is missing"),
    (surplus, "products/train-00001.parquet: is not listed in dataset.json; remove it"),
    (surplus_garbage, "products/train-00001.parquet: is not listed in dataset.json; remove it"),
    (doubled, "products/train-00001.parquet: is a copy of 'products/train-00000.parquet'"),
    (renamed, "products/test-00001.parquet: is 'products/validation-00000.parquet' of"),
    (copied_over_another_split, "products/test-00000.parquet: has "),
    (exchanged, "products/test-00000.parquet: has "),
    (cut, "tasks/query_product/validation-00000.parquet: has "),
    (emptied, "products/train-00000.parquet: has 0 bytes"),
    (another_version, "products/train-00000.parquet: has "),
    (another_version_of_the_same_size, "products/train-00000.parquet: is another version"),
    (another_tree, "mixed/hierarchy.parquet: has "),
    (another_tree_with_its_entry, "mixed/hierarchy.parquet: is of tree "),
    (shard_of_another_tree_with_its_entry, "products/train-00000.parquet: is of tree "),
]


@pytest.mark.parametrize(
    ("fault", "message"), FAULTS, ids=lambda value: getattr(value, "__name__", "")
)
def test_a_fault_is_named(hlm, mixed, other, fault, message):
    fault(mixed, other)
    for command in (["check", mixed], ["fit", "--config", EXPERIMENTS / "sst.yaml", *TINY]):
        options = [f"--data.dataset={mixed}"] if command[0] == "fit" else []
        result = hlm(*command, *options)
        assert_refused(result, message)
    assert not (mixed / ".cache").exists()


WAYS = {
    "pre-training": ["fit", "--config", EXPERIMENTS / "sst.yaml"],
    "texts": ["fit", "--config", EXPERIMENTS / "mlm.yaml"],
    "task": ["fit", "--config", EXPERIMENTS / "finetune_pc.yaml"],
    "departments": ["fit", "--config", EXPERIMENTS / "department.yaml"],
    "leaves": ["fit", "--config", EXPERIMENTS / "leaf.yaml"],
    "evaluation": ["test", "--config", EXPERIMENTS / "sst.yaml", "--ckpt_path=run"],
    "prediction": ["predict", "--config", EXPERIMENTS / "finetune_pc.yaml", "--ckpt_path=run"],
    "cascade": ["predict", "--config", EXPERIMENTS / "cascade.yaml"],
    "embeddings": ["embed", "--config", EXPERIMENTS / "embed.yaml", "--output=out"],
    "tfidf": ["tfidf", "--config", EXPERIMENTS / "baselines" / "tfidf.yaml"],
}


@pytest.mark.parametrize("way", WAYS)
def test_every_command_of_a_trainer_looks(hlm, mixed, tmp_path, way):
    missing_of_another_task(mixed, None)
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "checkpoints" / "best.ckpt").write_bytes(b"")
    assert_refused(hlm(*WAYS[way], f"--data.dataset={mixed}"), "is missing; copy it again")


def test_the_other_commands_look(hlm, mixed, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)  # where a sweep finds its experiments
    missing_of_another_task(mixed, None)
    sst, task = EXPERIMENTS / "sst.yaml", EXPERIMENTS / "finetune_pc.yaml"
    of_data = f"--data.dataset={mixed}"
    (tmp_path / "cascade").mkdir()
    commands = [
        ["calibrate", tmp_path / "cascade", mixed],
        ["fit-cascade", "--config", EXPERIMENTS / "dhpc.yaml", f"--dataset={mixed}"],
        ["sweep", EXPERIMENTS / "ablations" / "pooling.yaml", "--", of_data],
        ["transfer", f"--pretrain={sst}", f"--finetune={task}", of_data],
    ]
    places = {"fit-cascade": "output", "sweep": "output", "transfer": "encoders"}
    for name, *options in commands:
        place = [f"--{places[name]}={tmp_path / name}"] if name in places else []
        assert_refused(hlm(name, *place, *options), "is missing; copy it again")


def test_an_older_folder_is_read_with_one_warning(hlm, mixed):
    older = as_older_release(mixed)
    status, _, err = hlm(
        *("fit", "--config", EXPERIMENTS / "sst.yaml", *TINY, *FEW, "--test_after_fit=true"),
        *(f"--data.dataset={older}", "--trainer.limit_test_batches=1"),
    )
    assert status == 0, err
    assert err.count(f"{older}: written by an older release") == 1
    assert "prepare it again" in err


def test_a_dataset_below_folders_that_look_like_columns(hlm, catalogue, tmp_path):
    """The same numbers, and its runs can be reported from there."""
    below = tmp_path / "title=zzz" / "split=v2" / "item_id=1"
    below.mkdir(parents=True)
    shutil.copytree(catalogue, below / "data", ignore=shutil.ignore_patterns(".cache"))
    scores = []
    for dataset, root in ((catalogue, tmp_path / "runs"), (below / "data", below / "runs")):
        status, _, err = hlm(
            *("fit", "--config", EXPERIMENTS / "sst.yaml", *TINY, *FEW, "--test_after_fit=true"),
            *(f"--data.dataset={dataset}", f"--trainer.default_root_dir={root}"),
        )
        assert status == 0, err
        scores.append((root / "version_0" / "test.json").read_text())
        assert hlm("report", root / "version_0", f"--output={root / 'page'}")[0] == 0
    assert scores[0] == scores[1]
    assert hlm("check", below / "data")[0] == 0
