"""Every hierarchy pre-training in its forms; a method enters with one line."""

from typing import Any

from hierarchy_lm.backbones import BackboneOptions
from hierarchy_lm.losses.matching import MatchingOptions
from hierarchy_lm.nn import StructuralOptions
from hierarchy_lm.pretraining import (
    ConditionalPretrainer,
    ContrastOptions,
    HBGLPretrainer,
    HGCLRPretrainer,
    HiAGMPretrainer,
    HiMatchPretrainer,
    HPTPretrainer,
    MultiLabelPretrainer,
    MultiTaskPretrainer,
    NodeOnlyPretrainer,
    SSTPretrainer,
)
from hierarchy_lm.pretraining.base import HierarchyPretrainer

from .conftest import fake_trainer

SMALL = BackboneOptions("tiny", pretrained="none")
ALL_PATHS = MatchingOptions(num_positives=0, margin_mode="path_distance")

Form = tuple[type[HierarchyPretrainer], dict[str, Any]]
# For trees of any size.
METHODS: dict[str, Form] = {
    "sst": (SSTPretrainer, {}),
    "multi_task": (MultiTaskPretrainer, {}),
    "multi_label": (MultiLabelPretrainer, {}),
    "multi_label_one_path": (MultiLabelPretrainer, {"path_mode": "sample_one"}),
    "node_only": (NodeOnlyPretrainer, {}),
    "node_only_ce": (NodeOnlyPretrainer, {"loss": "ce"}),
    "hpt": (HPTPretrainer, {}),
    "hpt_sampled": (HPTPretrainer, {"sample_per_level": 500}),
    "hpt_words": (HPTPretrainer, {"joint_mlm": "words", "loss": "global"}),
    "hpt_all_words": (HPTPretrainer, {"joint_mlm": "all"}),
    "hbgl": (HBGLPretrainer, {}),
    "hbgl_all_labels": (HBGLPretrainer, {"restrict_level": False, "stop_rule": "official"}),
    "himatch": (HiMatchPretrainer, {}),
    "himatch_bce": (
        HiMatchPretrainer,
        {"cls_weight": 1.0, "node_features": "random", "matching": ALL_PATHS},
    ),
    "himatch_name_cls": (HiMatchPretrainer, {"node_features": "name_cls"}),
    "hgclr": (HGCLRPretrainer, {}),
    "hgclr_official": (
        HGCLRPretrainer,
        {"contrast": ContrastOptions(official=True, num_layers=2)},
    ),
    "hiagm": (HiAGMPretrainer, {}),
    "conditional_softmax": (ConditionalPretrainer, {}),
    "conditional_sigmoid": (
        ConditionalPretrainer,
        {"activation": "sigmoid", "logit_adjustment": 1.0},
    ),
}
# For small ones, and what differs in its parameters alone.
MORE: dict[str, Form] = {
    "sst_sequential": (SSTPretrainer, {"structural": StructuralOptions(readout="sequential")}),
    "multi_task_projection": (MultiTaskPretrainer, {"projection": True}),
    "node_only_leaves": (NodeOnlyPretrainer, {"nodes": "leaves"}),
    "hpt_official": (HPTPretrainer, {"edges": "official", "init_specials": True}),
    "hbgl_random": (HBGLPretrainer, {"label_init": "random", "bias_init": "zero"}),
    "himatch_official": (HiMatchPretrainer, {"form": "official"}),
    "himatch_official_bce": (HiMatchPretrainer, {"form": "official", "cls_weight": 1.0}),
    "hiagm_official": (HiAGMPretrainer, {"form": "official"}),
    "hiagm_official_la": (HiAGMPretrainer, {"form": "official", "variant": "la"}),
}


def make_method(form: Form, tree_file: str, tokenizer: str) -> HierarchyPretrainer:
    """With as much of a trainer as a step asks for."""
    kind, options = form
    model = kind(tree_file, tokenizer, SMALL, **options)
    model._trainer = fake_trainer()
    return model
