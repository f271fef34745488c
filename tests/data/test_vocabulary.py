"""Loading tokenizers, good and bad."""

import json
import shutil

import pytest
from transformers import AutoTokenizer

from hierarchy_lm.errors import UserError
from hierarchy_lm.vocabulary import load_vocabulary


def refusal(folder) -> str:
    with pytest.raises(UserError) as caught:
        load_vocabulary(str(folder))
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"tokenizer '{folder}': ")
    return str(caught.value)


def edited(tokenizer_folder, tmp_path, change):
    """A copy of the hand-made tokenizer whose tokenizer.json went through ``change``."""
    folder = tmp_path / "edited"
    shutil.copytree(tokenizer_folder, folder)
    file = folder / "tokenizer.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    change(content)
    file.write_text(json.dumps(content), encoding="utf-8")
    return folder


def test_special_tokens_and_size(vocabulary):
    # [PAD] [UNK] [CLS] [SEP] [MASK], 11 words, 36 signs twice, two punctuation marks.
    assert vocabulary.size == 5 + 11 + 72 + 2
    assert vocabulary.special._asdict() == {"cls": 2, "sep": 3, "pad": 0}


def test_neither_truncation_nor_padding(tokenizer_folder, tmp_path):
    def cut(content):
        content["truncation"] = {
            "direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0,
        }  # fmt: skip
        content["padding"] = {
            "strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": None,
            "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]",
        }  # fmt: skip

    tokenizer = load_vocabulary(str(edited(tokenizer_folder, tmp_path, cut))).tokenizer
    assert len(tokenizer.encode("red " * 20, add_special_tokens=False).ids) == 20
    assert len(tokenizer.encode("red", add_special_tokens=False).ids) == 1


def test_size_covers_gaps_between_ids(tokenizer_folder, tmp_path):
    def leave_a_gap(content):
        content["model"]["vocab"]["farther"] = 70_000

    assert load_vocabulary(str(edited(tokenizer_folder, tmp_path, leave_a_gap))).size == 70_001


def test_fingerprint_follows_vocabulary_and_normaliser(vocabulary, tokenizer_folder, tmp_path):
    copied = shutil.copytree(tokenizer_folder, tmp_path / "copy")
    assert load_vocabulary(str(copied)).fingerprint == vocabulary.fingerprint

    def swap(content):
        words = content["model"]["vocab"]
        words["red"], words["blue"] = words["blue"], words["red"]

    swapped = edited(tokenizer_folder, tmp_path / "a", swap)
    cased = edited(
        tokenizer_folder, tmp_path / "b", lambda all: all["normalizer"].update(lowercase=False)
    )
    prints = {load_vocabulary(str(folder)).fingerprint for folder in (swapped, cased)}
    assert len(prints | {vocabulary.fingerprint}) == 3


def test_saved_folder_gives_the_same_tokens(vocabulary, tmp_path):
    vocabulary.save(tmp_path / "saved")
    assert load_vocabulary(str(tmp_path / "saved")).fingerprint == vocabulary.fingerprint
    reference = AutoTokenizer.from_pretrained(tmp_path / "saved")
    ids = vocabulary.tokenizer.encode("Red shoes, size 42", add_special_tokens=False).ids
    assert reference("Red shoes, size 42", add_special_tokens=False)["input_ids"] == ids


def test_folder_without_a_tokenizer(tmp_path):
    assert "no readable tokenizer there" in refusal(tmp_path)


def test_name_that_is_nowhere(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "neither a folder nor on the hub" in refusal(tmp_path / "no such folder")


@pytest.mark.parametrize("content", ["", "garbage", "{}", '{"version": "1.0", "added_tokens": []}'])
def test_broken_tokenizer_json(tmp_path, content):
    (tmp_path / "tokenizer.json").write_text(content)
    assert "no readable tokenizer there" in refusal(tmp_path)


def test_model_folder_without_vocabulary_is_no_tokenizer_of_five_tokens(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    assert "has no vocabulary" in refusal(tmp_path)


def test_without_the_tokens_that_frame_a_sequence(tokenizer_folder, tmp_path):
    folder = tmp_path / "bare"
    shutil.copytree(tokenizer_folder, folder)
    file = folder / "tokenizer_config.json"
    config = json.loads(file.read_text())
    del config["sep_token"]
    file.write_text(json.dumps(config))
    assert "lacks a [CLS], [SEP] or padding token" in refusal(folder)
