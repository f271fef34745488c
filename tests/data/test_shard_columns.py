"""Reading row groups: contract types, mended UTF-8, damaged pages."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_modules.columns import read_row_groups
from hierarchy_lm.errors import UserError

COLUMNS = ["item_id", "title", "bullet_points", "node_ids"]


def raw_strings(values: list[bytes | None], kind: pa.DataType) -> pa.Array:
    """A string array of any bytes, as a careless writer makes it."""
    large = kind == pa.large_string()
    binary = pa.array(values, pa.large_binary() if large else pa.binary())
    return pa.Array.from_buffers(kind, len(values), binary.buffers(), binary.null_count)


@pytest.mark.parametrize(
    ("string", "list_of", "integer"),
    [
        (pa.string(), pa.list_, pa.int32()),
        (pa.large_string(), pa.large_list, pa.int64()),
        (pa.large_string(), pa.list_, pa.uint32()),
        (pa.string(), pa.large_list, pa.uint8()),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_widths(dataset, string, list_of, integer):
    table = pa.table(
        {
            "item_id": pa.array(["a", "b", "c"], string),
            "node_ids": pa.array([[7, 0], [], [5]], list_of(integer)),
            "title": pa.array(["red", None, ""], string),
            "bullet_points": pa.array([["x", None], None, []], list_of(string)),
        }
    )
    read, mended = read_row_groups(dataset.write(table), [0], COLUMNS)
    assert mended == 0
    assert read.schema.types == [
        pa.string(),
        pa.string(),
        pa.list_(pa.string()),
        pa.list_(pa.int64()),
    ]
    assert read.to_pylist() == table.select(COLUMNS).to_pylist()


def test_columns_that_are_null_in_every_row(dataset):
    table = pa.table(
        {
            "item_id": ["a", "b"],
            "title": pa.nulls(2),
            "bullet_points": pa.nulls(2),
            "node_ids": pa.array([[], []], pa.list_(pa.null())),
        }
    )
    read, _ = read_row_groups(dataset.write(table), [0], COLUMNS)
    row = {"title": None, "bullet_points": None, "node_ids": []}
    assert read.to_pylist() == [{"item_id": "a"} | row, {"item_id": "b"} | row]


def test_row_groups_come_in_the_order_asked_for(dataset):
    file = dataset.products([{"title": str(n)} for n in range(10)], row_group_size=3)
    read, _ = read_row_groups(file, [3, 1], ["title"])
    assert read["title"].to_pylist() == ["9", "3", "4", "5"]


@pytest.mark.parametrize("string", [pa.string(), pa.large_string()], ids=str)
def test_invalid_utf8_is_replaced_and_counted(dataset, string):
    titles = [b"red \xff shoe", None, b"\xed\xa0\x80", "schön".encode("latin-1"), "schön".encode()]
    points = raw_strings([b"ok", b"\xc3", b"fine"], string)
    table = pa.table(
        {
            "title": raw_strings(titles, string),
            "bullet_points": pa.ListArray.from_arrays(
                pa.array([0, 2, None, 2, 3, 3], pa.int32()), points
            ),
        }
    )
    read, mended = read_row_groups(dataset.write(table), [0], ["title", "bullet_points"])
    read.validate(full=True)
    assert read["title"].to_pylist() == [
        "red \ufffd shoe",
        None,
        "\ufffd\ufffd\ufffd",
        "sch\ufffdn",
        "schön",
    ]
    assert read["bullet_points"].to_pylist() == [["ok", "\ufffd"], [], None, ["fine"], []]
    assert mended == 4


def zero_the_pages(file, group: int, begin: float, end: float, column: int = 1) -> None:
    chunk = pq.ParquetFile(file).metadata.row_group(group).column(column)
    offsets = (chunk.dictionary_page_offset, chunk.data_page_offset)
    start = min(offset for offset in offsets if offset)
    damaged = bytearray(file.read_bytes())
    first, last = (start + int(chunk.total_compressed_size * share) for share in (begin, end))
    damaged[first:last] = bytes(last - first)
    file.write_bytes(damaged)


@pytest.mark.parametrize("compression", ["none", "snappy", "zstd"])
@pytest.mark.parametrize("extent", [(0.0, 1.0), (0.3, 0.7)])
def test_zeroed_pages_name_file_and_row_group(dataset, compression, extent):
    random = np.random.default_rng(0)
    rows = [{"title": f"red shoe {n}"} for n in random.permutation(400)]
    file = dataset.products(
        rows, row_group_size=100, compression=compression, write_page_checksum=True
    )
    zero_the_pages(file, 2, *extent)
    read, _ = read_row_groups(file, [0, 1, 3], ["title"])
    assert len(read) == 300
    with pytest.raises(UserError) as caught:
        read_row_groups(file, [0, 1, 2, 3], ["title"])
    assert str(caught.value).startswith(f"{file}: row group 2 cannot be read (")
    assert "\n" not in str(caught.value)


def test_a_file_that_vanished(dataset):
    with pytest.raises(UserError, match=r"train-00000\.parquet: row group 4 cannot be read"):
        read_row_groups(dataset.path / "train-00000.parquet", [4], ["title"])
