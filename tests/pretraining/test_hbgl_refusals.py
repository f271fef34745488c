"""What cannot be HBGL is refused before it trains."""

from pathlib import Path

import pytest
from transformers import ModernBertConfig, PreTrainedConfig, XLMRobertaConfig

from hierarchy_lm.backbones import BackboneOptions
from hierarchy_lm.errors import UserError
from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.pretraining import HBGLPretrainer

from .conftest import SIZE

TREE = Hierarchy.from_paths([("w1", "w2", "w3 w4"), ("w1", "w2", "w5"), ("w6",)])
TINY = BackboneOptions("tiny", pretrained="none")
SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "vocab_size": SIZE,
}


class Data:
    max_length, num_segments, num_labels = 509, 1, TREE.num_nodes


class OneStep:
    """As much of a trainer as set-up asks for."""

    datamodule = Data()


def test_texts_must_leave_positions_for_the_levels(tree_file: str, wordpiece_folder: Path):
    model = HBGLPretrainer(tree_file, str(wordpiece_folder), TINY)
    assert (model.backbone.max_length, model.depth) == (512, 3)
    model._trainer = OneStep()
    with pytest.raises(UserError, match=r"text.max_length is 509.* at most 508 tokens"):
        model.setup("fit")


def test_what_cannot_be_hbgl_is_refused(tree_file: str, wordpiece_folder: Path):
    with pytest.raises(UserError, match="single tokens"):
        HBGLPretrainer(tree_file, str(wordpiece_folder), BackboneOptions("dnn"))
    with pytest.raises(ValueError, match="true_mask_prob"):
        HBGLPretrainer(tree_file, str(wordpiece_folder), TINY, true_mask_prob=1.5)


@pytest.mark.parametrize(
    ("config", "segments", "message"),
    [
        (ModernBertConfig(**SMALL), 2, "layers with local attention"),
        (XLMRobertaConfig(**SMALL, type_vocab_size=1), 1, "set model.backbone.num_segments to 2"),
    ],
)
def test_encoders_that_cannot_read_label_blocks_are_refused(
    tree_file: str, wordpiece_folder: Path, tmp_path: Path, config: PreTrainedConfig, segments: int,
    message: str,
):  # fmt: skip
    config.save_pretrained(tmp_path)
    backbone = BackboneOptions(str(tmp_path), pretrained="none", num_segments=segments)
    with pytest.raises(UserError, match=message):
        HBGLPretrainer(tree_file, str(wordpiece_folder), backbone)
