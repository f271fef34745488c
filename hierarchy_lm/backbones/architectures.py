"""The registered backbones: the published architectures, and three to train from scratch.

Vocabulary size and padding id are set from the tokenizer when one is made without weights.
"""

from transformers import (
    AlbertConfig,
    BertConfig,
    ModernBertConfig,
    PreTrainedConfig,
    XLMRobertaConfig,
)

from hierarchy_lm.backbones.dnn import DNNConfig
from hierarchy_lm.backbones.registry import register_backbone


@register_backbone("albert_base", hub_id="albert/albert-base-v2")
def albert_base() -> PreTrainedConfig:
    """ALBERT v2, the encoder of the SST paper: 12 layers of shared weights, no dropout."""
    return AlbertConfig(hidden_size=768, num_attention_heads=12, intermediate_size=3072)


@register_backbone("bert_base", hub_id="google-bert/bert-base-uncased")
def bert_base() -> PreTrainedConfig:
    """English BERT, lower-cased."""
    return BertConfig()


@register_backbone("mbert", hub_id="google-bert/bert-base-multilingual-cased")
def mbert() -> PreTrainedConfig:
    """Multilingual BERT, the encoder of the DHPC paper."""
    return BertConfig(vocab_size=119_547)


@register_backbone("xlmr_base", hub_id="FacebookAI/xlm-roberta-base")
def xlmr_base() -> PreTrainedConfig:
    """XLM-RoBERTa; published with a single segment."""
    return XLMRobertaConfig(
        vocab_size=250_002, max_position_embeddings=514, type_vocab_size=1, layer_norm_eps=1e-5
    )


@register_backbone("modernbert_base", hub_id="answerdotai/ModernBERT-base")
def modernbert_base() -> PreTrainedConfig:
    """ModernBERT: 22 layers, rotary positions, no segments."""
    return ModernBertConfig()


@register_backbone("minilm", hub_id="sentence-transformers/all-MiniLM-L6-v2")
def minilm() -> PreTrainedConfig:
    """MiniLM sentence encoder: six narrow layers, good for a CPU."""
    return BertConfig(
        hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536
    )


@register_backbone("mini")
def mini() -> PreTrainedConfig:
    """A BERT that learns from scratch on two CPU cores within minutes."""
    return BertConfig(
        hidden_size=192, num_hidden_layers=4, num_attention_heads=3, intermediate_size=768
    )


@register_backbone("dnn")
def dnn() -> PreTrainedConfig:
    """The DHPC paper's baseline: mean word embeddings per field, then a perceptron."""
    return DNNConfig()


@register_backbone("tiny")
def tiny() -> PreTrainedConfig:
    """For tests."""
    return BertConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
    )
