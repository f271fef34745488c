"""Shards and the list of them, against pyarrow and hashlib called directly."""

import hashlib

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_modules.manifest import file_record, folder_manifest, manifest_fingerprint, split_of
from data_modules.shard_writer import write_shard
from hierarchy_lm.errors import UserError

SCHEMA = pa.schema([pa.field("item_id", pa.string(), nullable=False), ("n", pa.int32())])


def batch(start, count):
    numbers = list(range(start, start + count))
    return pa.record_batch([[f"i{n}" for n in numbers], pa.array(numbers, pa.int32())], SCHEMA)


def batches(*counts):
    start = 0
    for count in counts:
        yield batch(start, count)
        start += count


def test_a_shard_names_its_tree_and_keeps_what_the_schema_says(tmp_path):
    file = tmp_path / "train-00000.parquet"
    assert write_shard(batches(3), file, SCHEMA.with_metadata({"a": "b"}), "f00d") == 3
    found = pq.read_schema(file)
    assert found.remove_metadata() == SCHEMA
    assert found.metadata == {b"a": b"b", b"hierarchy_fingerprint": b"f00d"}
    chunk = pq.read_metadata(file).row_group(0).column(0)
    assert chunk.compression == "ZSTD"


def test_pages_carry_checksums(tmp_path):
    file = tmp_path / "train-00000.parquet"
    write_shard(batches(500), file, SCHEMA, "f00d")
    chunk = pq.read_metadata(file).row_group(0).column(1)
    content = bytearray(file.read_bytes())
    content[chunk.dictionary_page_offset + chunk.total_compressed_size - 1] ^= 1
    file.write_bytes(content)
    with pytest.raises(OSError, match="CRC"):
        pq.ParquetFile(file, page_checksum_verification=True).read()


def test_a_dataset_without_a_tree_names_none(tmp_path):
    file = tmp_path / "train-00000.parquet"
    write_shard(batches(3), file, SCHEMA, None)
    assert b"hierarchy_fingerprint" not in (pq.read_metadata(file).metadata or {})


def test_a_shard_goes_wherever_pyarrow_writes():
    sink = pa.BufferOutputStream()
    tables = [pa.Table.from_batches([part]) for part in batches(2, 3)]
    assert write_shard(tables, sink, SCHEMA, "f00d") == 5
    file = pq.ParquetFile(pa.BufferReader(sink.getvalue()))
    assert file.metadata.num_row_groups == 2
    assert file.read()["n"].to_pylist() == [*range(5)]


def test_the_record_of_a_file(tmp_path):
    file = tmp_path / "some.parquet"
    write_shard(batches(7), file, SCHEMA, "f00d")
    content = file.read_bytes()
    length = int.from_bytes(content[-8:-4], "little")
    record = file_record(file, "train")
    assert (record.split, record.rows, record.size) == ("train", 7, len(content))
    assert record.footer == hashlib.sha256(content[-8 - length : -8]).hexdigest()
    assert record.sha256 == hashlib.sha256(content).hexdigest()


def test_a_broken_file_has_no_record(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1PAR1")
    with pytest.raises(UserError, match=r"a\.parquet: is truncated"):
        file_record(tmp_path / "a.parquet", None)
    with pytest.raises(UserError, match=r"b\.parquet: is missing"):
        file_record(tmp_path / "b.parquet", None)


def test_splits_come_from_the_names():
    names = ["hierarchy.parquet", "products/train-00000.parquet", "tasks/a-b/test-00001.parquet"]
    assert [split_of(name) for name in names] == [None, "train", "test"]


def test_the_manifest_holds_the_files_that_are_read_and_no_others(tmp_path):
    names = [
        *("hierarchy.parquet", "products/test-00000.parquet", "tasks/a-b/train-00000.parquet"),
        *("tasks/a/train-00000.parquet", ".cache/products/augmented-0/train-00000.parquet"),
    ]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        write_shard(batches(len(name)), tmp_path / name, SCHEMA, None)
    found = folder_manifest(tmp_path)
    assert set(found) == set(names[:4])
    assert {name: record.rows for name, record in found.items()} == {
        name: len(name) for name in names[:4]
    }
    digest = hashlib.sha256()
    for name in (names[0], names[1], names[3], names[2]):  # folder by folder: a, then a-b
        digest.update(name.encode())
        digest.update(hashlib.sha256((tmp_path / name).read_bytes()).digest())
    assert manifest_fingerprint(found) == digest.hexdigest()
