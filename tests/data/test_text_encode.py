"""Token rows against a row-by-row implementation with plain lists."""

from itertools import product
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hierarchy_lm.errors import UserError
from hierarchy_lm.text import CHARACTERS_PER_TOKEN, ProductTokenizer, TextOptions, TokenRows

SCHEMA = pa.schema(
    [
        ("title", pa.string()),
        ("description", pa.string()),
        ("bullet_points", pa.list_(pa.string())),
        ("query", pa.string()),
    ]
)
words = st.lists(
    st.sampled_from(["red", "shoes", "size", "42", "xl,", "голубой", "Ünk"]), max_size=9
)
strings = st.none() | words.map(" ".join)
row = st.tuples(strings, strings, st.none() | st.lists(strings, max_size=3), strings)
FIELDS = ("title", "description", "bullet_points")
field_orders = st.permutations(FIELDS).flatmap(
    lambda order: st.integers(1, 3).map(lambda count: tuple(order[:count]))
)


def slow_share(lengths, budget, first_served):
    kept = [0] * len(lengths)
    for field in range(first_served):
        kept[field] = min(lengths[field], budget - sum(kept))
    order = sorted(range(first_served, len(lengths)), key=lambda field: (-lengths[field], -field))
    while sum(kept) < min(budget, sum(lengths)):
        for field in order:
            if kept[field] < lengths[field] and sum(kept) < budget:
                kept[field] += 1
    return kept


def slow_encode(values: dict, reference: ProductTokenizer) -> tuple[list[int], list[int], bool]:
    """Ids, segment ids, and whether anything was cut, of one row."""
    options, special = reference.options, reference.special
    names = (["query"] if reference.pair else []) + list(options.fields)
    texts = [
        " ".join(item or "" for item in value) if isinstance(value, list) else value or ""
        for value in (values[name] for name in names)
    ]
    tokens = [reference.tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
    if options.segments == "fields":
        closed = [bool(ids) for ids in tokens]
        closed[0] |= not any(closed)
    else:
        closed = [number == len(names) - 1 for number in range(len(names))]
        closed[0] |= reference.pair
    lengths = [len(ids) for ids in tokens]
    kept = slow_share(lengths, options.max_length - 1 - sum(closed), 2 if reference.pair else 1)
    ids, segments = [special.cls], [0]
    for number, field in enumerate(tokens):
        part = field[: kept[number]] + [special.sep] * closed[number]
        if options.segments == "fields":
            segment = number
        else:
            segment = 1 if reference.pair and number > 0 else 0
        ids += part
        segments += [segment] * len(part)
    return ids, segments, kept != lengths


def unpack(rows: TokenRows) -> list[tuple[list[int], list[int]]]:
    ends = np.cumsum(rows.lengths)
    parts = []
    for end, length, boundaries in zip(ends, rows.lengths, rows.boundaries, strict=True):
        segments = [sum(position >= bound for bound in boundaries) for position in range(length)]
        parts.append((rows.ids[end - length : end].tolist(), segments))
    return parts


def table(rows: list[tuple]) -> pa.Table:
    return pa.Table.from_pylist([dict(zip(SCHEMA.names, row, strict=True)) for row in rows], SCHEMA)


def check(tokenizer: ProductTokenizer, columns: pa.Table) -> None:
    encoded = tokenizer.encode(columns)
    expected = [slow_encode(values, tokenizer) for values in columns.to_pylist()]
    assert unpack(encoded) == [(ids, segments) for ids, segments, _ in expected]
    assert encoded.truncated == sum(cut for _, _, cut in expected)
    assert max(encoded.lengths, default=0) <= tokenizer.options.max_length


@settings(deadline=None)
@given(
    st.lists(row, min_size=1, max_size=6),
    st.sampled_from([("document", False), ("document", True), ("fields", False)]),
    field_orders,
    st.sampled_from([6, 7, 9, 16, 64]),
)
def test_rows_equal_the_slow_encoder(vocabulary, rows, layout, fields, max_length):
    segments, pair = layout
    options = TextOptions(fields, max_length, segments)
    check(ProductTokenizer(vocabulary.tokenizer, vocabulary.special, options, pair), table(rows))


@pytest.mark.parametrize("layout", [("document", False), ("document", True), ("fields", False)])
def test_every_combination_of_missing_fields(vocabulary, layout):
    options = TextOptions(max_length=12, segments=layout[0])
    tokenizer = ProductTokenizer(vocabulary.tokenizer, vocabulary.special, options, layout[1])
    texts = [None, "", "  ", "red shoes"]
    check(tokenizer, table(list(product(texts, texts, [None, [], [None], ["blue"]], texts))))


def test_hand_made_rows(vocabulary):
    cls, sep = vocabulary.special.cls, vocabulary.special.sep
    red, shoe, s, blue = (
        vocabulary.tokenizer.token_to_id(t) for t in ("red", "shoe", "##s", "blue")
    )
    columns = table([("red shoes", "blue", None, "shoe"), (None, None, None, None)])

    def rows(segments: str, pair: bool) -> list[tuple[list[int], list[int]]]:
        options = TextOptions(segments=segments)
        tokenizer = ProductTokenizer(vocabulary.tokenizer, vocabulary.special, options, pair)
        return unpack(tokenizer.encode(columns))

    assert rows("document", False) == [
        ([cls, red, shoe, s, blue, sep], [0] * 6),
        ([cls, sep], [0, 0]),
    ]
    assert rows("document", True) == [
        ([cls, shoe, sep, red, shoe, s, blue, sep], [0, 0, 0, 1, 1, 1, 1, 1]),
        ([cls, sep, sep], [0, 0, 1]),
    ]
    assert rows("fields", False) == [
        ([cls, red, shoe, s, sep, blue, sep], [0, 0, 0, 0, 0, 1, 1]),
        ([cls, sep], [0, 0]),
    ]


def test_no_rows_and_chunked_rows(vocabulary):
    tokenizer = ProductTokenizer(
        vocabulary.tokenizer, vocabulary.special, TextOptions(max_length=8)
    )
    empty = tokenizer.encode(table([]))
    assert (len(empty.ids), len(empty.lengths), empty.truncated) == (0, 0, 0)
    whole = table([(f"red {n}", None, ["blue", None], None) for n in range(7)])
    check(tokenizer, pa.concat_tables([whole.slice(5), whole.slice(1, 3), whole.slice(0, 0)]))


def test_long_texts_equal_tokenise_then_truncate(vocabulary):
    options = TextOptions(max_length=16)
    tokenizer = ProductTokenizer(vocabulary.tokenizer, vocabulary.special, options)
    random = np.random.default_rng(0)
    rows = []
    for _ in range(20):
        lengths = random.integers(1, 30, size=600)
        text = " ".join("".join(random.choice(list("abc,."), size=n)) for n in lengths)
        assert len(text) > CHARACTERS_PER_TOKEN * options.max_length
        rows.append((text[: random.integers(2, 20)], text, [text, text[:7]], None))
    check(tokenizer, table(rows))


@pytest.mark.parametrize(
    "text", ["red shoes " * 1_000_000, "x" * 1_000_000, "é" * 1_000_000, "a," * 500_000]
)
def test_gigantic_texts_never_reach_the_tokenizer(vocabulary, text):
    seen = []

    def encode_batch_fast(texts, add_special_tokens):
        seen.extend(map(len, texts))
        return vocabulary.tokenizer.encode_batch_fast(texts, add_special_tokens=add_special_tokens)

    options = TextOptions(fields=("title",), max_length=16)
    spy = SimpleNamespace(encode_batch_fast=encode_batch_fast)
    rows = ProductTokenizer(spy, vocabulary.special, options).encode(
        table([(text, None, None, None), ("red", None, None, None)])
    )
    assert max(seen) <= CHARACTERS_PER_TOKEN * options.max_length
    # Short enough for the tokenizer, long enough to be cut: the same first words.
    first = vocabulary.tokenizer.encode(text[:2000], add_special_tokens=False).ids[:14]
    assert unpack(rows)[0][0] == [vocabulary.special.cls, *first, vocabulary.special.sep]
    assert rows.lengths[1] == 3


def test_a_query_has_no_fields_layout(vocabulary):
    with pytest.raises(UserError, match=r"text\.segments: fields"):
        ProductTokenizer(
            vocabulary.tokenizer, vocabulary.special, TextOptions(segments="fields"), pair=True
        )


@pytest.mark.parametrize(
    "wrong", [{"fields": ()}, {"fields": ("title", "title")}, {"max_length": 5}], ids=str
)
def test_impossible_options(wrong):
    with pytest.raises(ValueError, match=r"text\."):
        TextOptions(**wrong)
