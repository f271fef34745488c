import hashlib
import json
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hierarchy_lm.dataset import HIERARCHY_SCHEMA, PRODUCT_SCHEMA, TASK_SCHEMA, read_dataset

TASKS = ["product_categorisation", "local_financial", "global_financial", "query_product"]


def split_of(key: str) -> str:
    digits = hashlib.md5(key.encode()).hexdigest()[:8]
    return "train" if digits < "cccccccc" else "validation" if digits < "e6666666" else "test"


def schemas(folder):
    return [pq.read_schema(file).remove_metadata() for file in folder.glob("*.parquet")]


def test_schemas_are_the_contract_s(half_noisy):
    extra = [
        pa.field("true_node_ids", pa.list_(pa.int32()), nullable=False),
        pa.field("noise", pa.list_(pa.string()), nullable=False),
    ]
    products = pa.schema([*PRODUCT_SCHEMA, *extra])
    assert schemas(half_noisy.folder) == [HIERARCHY_SCHEMA]
    assert schemas(half_noisy.folder / "products") == [products] * 3
    for task in TASKS:
        assert schemas(half_noisy.folder / "tasks" / task) == [TASK_SCHEMA] * 3


def test_columns_marked_not_null_hold_no_null(half_noisy):
    for row in half_noisy.rows():
        required = ["item_id", "node_ids", "weight", "true_node_ids", "noise"]
        assert None not in [row[name] for name in required]
        assert row["weight"] > 0
        assert row["locale"] in ("en", "de")


def test_hierarchy_is_sorted_and_consistent(half_noisy):
    nodes = half_noisy.nodes()
    assert [node["node_id"] for node in nodes] == list(range(400))
    keys = [(node["level"], node["path"]) for node in nodes]
    assert keys == sorted(set(keys))
    for node in nodes:
        names = node["path"].split(" > ")
        assert (len(names), names[-1]) == (node["level"], node["name"])
        parent = nodes[node["parent_id"]]["path"] if node["parent_id"] >= 0 else ""
        assert parent == " > ".join(names[:-1])


@pytest.mark.parametrize("place", ["products", *(f"tasks/{task}" for task in TASKS)])
def test_split_is_the_hash_rule(half_noisy, place):
    key = "query" if place.endswith("query_product") else "item_id"
    for split in ("train", "validation", "test"):
        rows = half_noisy.rows(place, split)
        assert rows
        assert {split_of(row[key]) for row in rows} == {split}


def test_item_ids_are_unique_over_products_and_tasks(half_noisy):
    places = ["products", *(f"tasks/{task}" for task in TASKS)]
    ids = [row["item_id"] for place in places for row in half_noisy.rows(place)]
    assert len(set(ids)) == len(ids) == 6000 + 3 * 4000 + 1000


def test_dataset_json_counts_what_is_there(half_noisy):
    info = read_dataset(half_noisy.folder)
    assert info.tasks == TASKS
    assert (info.counts["nodes"], info.counts["levels"]) == (400, 6)
    for split in ("train", "validation", "test"):
        assert info.counts[split] == len(half_noisy.rows("products", split))
        for task in TASKS:
            place = f"tasks/{task}"
            assert info.counts[f"{place}/{split}"] == len(half_noisy.rows(place, split))
    assert (half_noisy.folder / "report.md").read_text().startswith("# ")


def test_dataset_json_lists_every_file(half_noisy):
    info = json.loads((half_noisy.folder / "dataset.json").read_text())
    tree = hashlib.sha256(
        json.dumps([node["path"] for node in half_noisy.nodes()]).encode()
    ).hexdigest()
    assert (info["schema_version"], info["hierarchy_fingerprint"]) == (2, tree)
    whole = hashlib.sha256()
    names = sorted(
        path.relative_to(half_noisy.folder).as_posix()
        for path in half_noisy.folder.rglob("*.parquet")
    )
    assert sorted(info["files"]) == names
    assert len(names) == 1 + 3 * 5
    for name in names:
        content = (half_noisy.folder / name).read_bytes()
        footer = pq.read_metadata(half_noisy.folder / name)
        assert info["files"][name] == {
            "split": None if "-" not in name else name.split("/")[-1].split("-")[0],
            "rows": footer.num_rows,
            "size": len(content),
            "footer": hashlib.sha256(content[-8 - footer.serialized_size : -8]).hexdigest(),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        assert footer.metadata[b"hierarchy_fingerprint"].decode() == tree
        whole.update(name.encode() + hashlib.sha256(content).digest())
    assert info["fingerprint"] == whole.hexdigest()


def test_task_files_name_the_kind_and_cover_the_labels(half_noisy):
    for task in TASKS:
        stated = json.loads((half_noisy.folder / "tasks" / task / "task.json").read_text())
        assert (stated["name"], stated["kind"]) == (task, "multiclass")
        assert stated["pair"] is (task == "query_product")
        rows = half_noisy.rows(f"tasks/{task}")
        used = Counter(len(row["label_ids"]) for row in rows)
        assert used == {1: len(rows)}
        labels = {row["label_ids"][0] for row in rows}
        assert labels <= set(range(len(stated["labels"])))
        assert len(labels) > 0.8 * len(stated["labels"])
        assert all((row["query"] is not None) == stated["pair"] for row in rows)


def test_equal_options_give_equal_bytes_and_another_seed_other_data(make_sample):
    def digests(sample):
        files = sorted(file for file in sample.folder.rglob("*") if file.is_file())
        return {
            str(file.relative_to(sample.folder)): hashlib.md5(file.read_bytes()).hexdigest()
            for file in files
        }

    first, again = (make_sample(items=500, task_items=100) for _ in range(2))
    other = make_sample(items=500, task_items=100, seed=1)
    assert digests(first) == digests(again)
    prints = {read_dataset(sample.folder).fingerprint for sample in (first, again, other)}
    assert len(prints) == 2
    assert first.rows()[0]["true_node_ids"] != [] != other.rows()[0]["true_node_ids"]


def test_blocks_do_not_repeat_each_other(make_sample, monkeypatch):
    monkeypatch.setattr("data_modules.sample.writer.BLOCK", 200)
    sample = make_sample(items=500, task_items=0)
    assert len(list((sample.folder / "products").glob("train-*.parquet"))) == 3
    rows = sample.rows()
    assert [row["item_id"] for row in rows] == [f"P{number:08d}" for number in range(500)]
    assert len({row["weight"] for row in rows}) == 500
