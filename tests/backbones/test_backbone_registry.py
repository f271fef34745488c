import pytest
import torch
from transformers import BertConfig

from hierarchy_lm.backbones import (
    BackboneOptions,
    check_backbone,
    create_backbone,
    list_backbones,
    register_backbone,
    registry,
    sources,
    tokenizer_source,
)
from hierarchy_lm.errors import UserError

PUBLISHED = {
    # name: width, layers, parameters without pooler (in millions, model cards), segments
    "albert_base": (768, 12, 11.1, 2),
    "bert_base": (768, 12, 108.9, 2),
    "mbert": (768, 12, 177.3, 2),
    "xlmr_base": (768, 12, 277.5, 1),
    "modernbert_base": (768, 22, 149.0, 0),
    "minilm": (384, 6, 22.6, 2),
}
VOCABULARIES = {"albert_base": 30_000, "mbert": 119_547, "xlmr_base": 250_002}
VOCABULARIES |= {"modernbert_base": 50_368}


@pytest.fixture
def clean_registry(monkeypatch):
    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    """An empty cache and a hub nobody answers for."""
    monkeypatch.setattr(sources, "try_to_load_from_cache", lambda *_: None)

    def refuse(*_args: object, **_kwargs: object) -> None:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(sources.HfApi, "model_info", refuse)
    sources._locate_on_hub.cache_clear()
    yield
    sources._locate_on_hub.cache_clear()


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_packaged_architecture_has_the_published_size(name):
    width, layers, millions, segments = PUBLISHED[name]
    with torch.device("meta"):  # no memory, no time
        backbone = create_backbone(
            BackboneOptions(name, "none", num_segments=1), VOCABULARIES.get(name, 30_522), 0
        )
    assert (backbone.hidden_size, backbone.num_layers) == (width, layers)
    assert backbone.num_segments == segments
    parameters = sum(parameter.numel() for parameter in backbone.parameters())
    assert parameters / 1e6 == pytest.approx(millions, rel=0.005)


@pytest.mark.parametrize("name", list_backbones())
def test_every_backbone_builds_without_weights_and_network(name, no_network):
    layers = 1 if name == "dnn" else 2  # its perceptron counts as one
    options = BackboneOptions(name, "none", num_layers=layers, num_segments=3)
    check_backbone(options)
    assert tokenizer_source(options) is None
    with torch.device("meta"):
        backbone = create_backbone(options, vocab_size=123, pad_token_id=7)
    assert backbone.training
    assert backbone.num_layers == layers
    assert backbone.num_segments == (0 if name == "modernbert_base" else 3)
    embeddings = backbone.encoder.get_input_embeddings()
    assert (embeddings.num_embeddings, embeddings.padding_idx) == (123, 7)
    assert {parameter.dtype for parameter in backbone.parameters()} == {torch.float32}


@pytest.mark.parametrize("name", ["mini", "tiny"])
def test_backbones_from_scratch_need_no_word_about_weights(name, no_network):
    backbone = create_backbone(BackboneOptions(name), vocab_size=100, pad_token_id=0)
    assert backbone.encoder.config.vocab_size == 100


@pytest.mark.parametrize("name", ["mini", "tiny"])
def test_weights_nobody_published_are_an_error(name):
    with pytest.raises(UserError, match=r"no published weights; set backbone.pretrained to none"):
        create_backbone(BackboneOptions(name, "hub"), 100, 0)


@pytest.mark.parametrize("pretrained", ["auto", "hub"])
@pytest.mark.parametrize("name", ["albert_base", "some/model"])
def test_a_hub_out_of_reach_is_one_line_and_never_random_weights(name, pretrained, no_network):
    options = BackboneOptions(name, pretrained)
    wanted = {"albert_base": "albert/albert-base-v2"}.get(name, name)
    for attempt in (lambda: check_backbone(options), lambda: create_backbone(options, 100, 0)):
        with pytest.raises(UserError, match="not within reach") as caught:
            attempt()
        assert wanted in str(caught.value)
        assert "\n" not in str(caught.value)


def test_offline_mode_is_respected_at_once(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    sources._locate_on_hub.cache_clear()
    with pytest.raises(UserError, match="not within reach"):
        check_backbone(BackboneOptions("nobody/never-published-this"))


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(UserError, match=r"unknown backbone 'albrt_base'.*albert_base.*folder"):
        create_backbone(BackboneOptions("albrt_base"), 100, 0)


def test_a_mistyped_folder_is_not_taken_for_random_weights():
    with pytest.raises(UserError, match="no folder 'runs/sst/export'"):
        create_backbone(BackboneOptions("mini", "runs/sst/export"), 100, 0)
    with pytest.raises(UserError, match="'runs/sst/export': neither a folder nor a model"):
        create_backbone(BackboneOptions("runs/sst/export"), 100, 0)


def test_a_registered_function_is_found_by_its_name(clean_registry):
    @register_backbone("narrow")
    def narrow() -> BertConfig:
        return BertConfig(
            hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
        )

    assert "narrow" in list_backbones()
    assert create_backbone(BackboneOptions("narrow"), 10, 0).hidden_size == 8


def test_a_name_can_be_registered_once(clean_registry):
    with pytest.raises(ValueError, match="'mini' is already registered"):
        register_backbone("mini")


@pytest.mark.parametrize(
    ("options", "source"),
    [
        (BackboneOptions("mini"), None),
        (BackboneOptions("albert_base"), "albert/albert-base-v2"),
        (BackboneOptions("albert_base", "none"), None),
        (BackboneOptions("some/model"), "some/model"),
        (BackboneOptions("some/model", "none"), "some/model"),
    ],
)
def test_the_tokenizer_comes_with_the_weights_or_is_trained(options, source):
    assert tokenizer_source(options) == source


@pytest.mark.parametrize("changes", [{"num_layers": 0}, {"num_segments": 0}])
def test_sizes_that_make_no_sense_are_refused(changes):
    with pytest.raises(ValueError, match="must be at least 1"):
        BackboneOptions(**changes)


def test_more_layers_than_there_are_is_an_error():
    with pytest.raises(UserError, match="3 layers asked for, the encoder has 2"):
        create_backbone(BackboneOptions("tiny", num_layers=3), 10, 0)
