"""Cleaning against a loop over characters and their Unicode categories."""

import unicodedata

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hierarchy_lm.text import CHARACTERS_PER_TOKEN, TextOptions, clean, join_lists

CORPUS = [
    "Plain ASCII, 100% cotton - size 42/XL",
    "  \t spaces \n around\u00a0and\u3000between  ",
    "ÄÖÜ ß Straße, café naïve",
    "e\u0301tude (combining acute)",
    "حذاء رياضي ٤٢ سم",
    "נעליים לגברים",
    "Кроссовки мужские №5",
    "ผ้าฝ้ายเนื้อนุ่ม",
    "सूती कमीज़ १००%",
    "靴 スニーカー ｻｲｽﾞ 한국어",
    "Ｆｕｌｌｗｉｄｔｈ １２３",
    "family \U0001f468\u200d\U0001f469\u200d\U0001f467 emoji \U0001f45f",
    "nul\0byte",
    "\u202eright to left override\u202c",
    "½ Ⅷ ² ①",
    "",
    "   ",
    "!!! ???",
]
BLOCKS = [(0x20, 0x7E), (0xA0, 0x17F), (0x300, 0x36F), (0x391, 0x3C9), (0x410, 0x44F)]
BLOCKS += [(0x5D0, 0x5EA), (0x620, 0x66C), (0x905, 0x96F), (0x3041, 0x30FE), (0x4E00, 0x4FFF)]
BLOCKS += [(0x2000, 0x206F), (0x3000, 0x3003), (0xFF10, 0xFF5A), (0x1F300, 0x1F5FF)]
characters = st.sampled_from("\0\t\n\r\f") | st.one_of(
    *(st.characters(min_codepoint=low, max_codepoint=high) for low, high in BLOCKS)
).filter(lambda sign: unicodedata.category(sign) != "Cn" and sign != "\x85")
texts = st.none() | st.text(characters, max_size=40)
OPTIONS = [
    TextOptions(clean=clean, keep_digits=digits, lowercase=lower)
    for clean in ("keep", "letters")
    for digits in (False, True)
    for lower in (False, True)
]


def slow_clean(text: str | None, options: TextOptions) -> str:
    words = [""]
    for sign in text or "":
        major = unicodedata.category(sign)[0]
        blank = major == "Z" or sign in "\t\n\r\f"
        if options.clean == "letters":
            blank = major not in ("LMN" if options.keep_digits else "LM")
        if blank:
            words.append("")
        else:
            # One character becomes one: only the dotted capital I would become two.
            words[-1] += sign.lower()[:1] if options.lowercase else sign
    return " ".join(word for word in words if word)


def column(values: list[str | None]) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values, pa.string())])


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_corpus_of_scripts(options):
    cleaned = clean(column(CORPUS), options).to_pylist()
    assert cleaned == [slow_clean(text, options) for text in CORPUS]


@given(st.lists(texts, max_size=5), st.sampled_from(OPTIONS))
def test_random_texts(values, options):
    cleaned = clean(column(values), options).to_pylist()
    assert cleaned == [slow_clean(text, options) for text in values]


def test_letters_of_every_script_stay():
    cleaned = clean(column(["Größe-42: 靴, обувь!", "नमस्ते, 10"]), TextOptions(clean="letters"))
    assert cleaned.to_pylist() == ["Größe 靴 обувь", "नमस्ते"]


@given(
    st.lists(st.none() | st.lists(st.none() | st.text("ab ", max_size=3), max_size=4), max_size=6),
    st.data(),
)
def test_lists_are_joined_whatever_the_slices_and_chunks(rows, data):
    whole = pa.array(rows, pa.list_(pa.string()))
    start = data.draw(st.integers(0, len(rows)))
    split = data.draw(st.integers(start, len(rows)))
    chunks = pa.chunked_array(
        [whole.slice(start, split - start), whole.slice(split)], pa.list_(pa.string())
    )
    expected = [" ".join(item or "" for item in row or []) for row in rows[start:]]
    assert join_lists(chunks).to_pylist() == expected


def test_no_rows():
    assert clean(pa.chunked_array([], pa.string()), TextOptions()).to_pylist() == []
    assert clean(pa.chunked_array([], pa.list_(pa.string())), TextOptions()).to_pylist() == []


def test_what_cleaning_drops_uses_up_no_characters():
    options = TextOptions(max_length=16, clean="letters")
    limit = CHARACTERS_PER_TOKEN * options.max_length
    assert clean(column(["-" * 2 * limit + " shoe"]), options).to_pylist() == ["shoe"]
    blank = clean(column([" " * 2 * limit + "shoe"]), TextOptions(max_length=16))
    assert blank.to_pylist() == ["shoe"]
