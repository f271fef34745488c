"""What the nodes of the tree bring into the graph (HiMatch)."""

from typing import Literal

import torch
from torch import Tensor, nn

from hierarchy_lm.backbones import Backbone
from hierarchy_lm.batches import TokenBatch
from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.node_names import NodeNames, tokenize_names
from hierarchy_lm.vocabulary import Vocabulary

Features = Literal["name_emb", "name_cls", "random"]
NAMES_AT_ONCE = 512


class NodeFeatures(nn.Module):
    """A vector of each node, from its name or learnt; names give the encoder no gradient.

    What comes from names is standardised over the nodes, each dimension apart: [CLS] of short names
    are much alike, word embeddings are small, and the first bias would make all nodes one.

    Args:
        hierarchy: The tree.
        vocabulary: The backbone's tokenizer.
        backbone: The encoder whose word embeddings or [CLS] are taken; no part of this module.
        kind: Mean of the word embeddings of the name as they are now (``name_emb``), [CLS] of the
            name as it was at the last refresh (``name_cls``), or learnt from ``random`` numbers.
        width: Of the learnt vectors.

    Attributes:
        width: Of the features.
    """

    ids: Tensor
    offsets: Tensor
    cls: Tensor

    def __init__(
        self,
        hierarchy: Hierarchy,
        vocabulary: Vocabulary,
        backbone: Backbone,
        kind: Features,
        width: int,
    ) -> None:
        super().__init__()
        self.kind = kind
        names = tokenize_names(hierarchy, vocabulary, specials=kind == "name_cls")
        self.pad = vocabulary.special.pad
        self.register_buffer("ids", names.ids, persistent=False)
        self.register_buffer("offsets", names.offsets, persistent=False)
        if kind == "random":
            self.width = width
            self.vectors = nn.Parameter(torch.randn(len(names), width))
        elif kind == "name_cls":
            self.width = backbone.hidden_size
            self.register_buffer("cls", torch.zeros(len(names), self.width))
        else:
            self.width = backbone.word_embeddings.shape[1]

    def forward(self, backbone: Backbone) -> Tensor:
        """Features of all nodes, ``(C, width)``."""
        if self.kind == "random":
            return self.vectors
        if self.kind == "name_cls":
            return _standardised(self.cls)
        table = backbone.word_embeddings.detach()
        return _standardised(NodeNames(self.ids, self.offsets).embedded(table))

    @torch.no_grad()
    def refresh(self, backbone: Backbone) -> None:
        """Encode all names, short ones with short ones, without dropout; only for ``name_cls``."""
        names = NodeNames(self.ids.cpu(), self.offsets.cpu())
        order = names.offsets.diff().argsort(stable=True)
        training = backbone.training
        backbone.eval()
        for nodes in torch.split(order, NAMES_AT_ONCE):
            ids, mask = (part.to(self.cls.device) for part in names.padded(nodes, self.pad))
            encoded = backbone(TokenBatch(ids, torch.zeros_like(ids), mask))
            self.cls[nodes.to(self.cls.device)] = encoded.to(self.cls.dtype)
        backbone.train(training)


def _standardised(features: Tensor) -> Tensor:
    """Mean 0 and variance 1 over the nodes; 0 where all are the same."""
    centred = features - features.mean(dim=0)
    return centred / centred.square().mean(dim=0).sqrt().clamp(min=1e-6)
