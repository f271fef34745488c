"""The names of a tree's nodes as token ids, and what an encoder's word embeddings make of them."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.vocabulary import Vocabulary

NameReduction = Literal["mean", "sum"]


@dataclass(frozen=True)
class NodeNames:
    """Token ids of C names, ragged, each at least one token long.

    Attributes:
        ids: Of all names, one after the other, int64.
        offsets: ``(C + 1,)`` int64; name c is ``ids[offsets[c]:offsets[c + 1]]``.
    """

    ids: Tensor
    offsets: Tensor

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def embedded(self, table: Tensor, reduction: NameReduction = "mean") -> Tensor:
        """Mean or sum of each name's word embeddings, ``(C, E)``, of a table ``(V, E)``."""
        ids, offsets = self.ids.to(table.device), self.offsets[:-1].to(table.device)
        return F.embedding_bag(ids, table, offsets, mode=reduction)

    def padded(self, nodes: Tensor, pad: int) -> tuple[Tensor, Tensor]:
        """Token ids of some nodes' names ``(N, T)``, and 1 on tokens, 0 on padding."""
        starts, lengths = self.offsets[nodes], self.offsets[nodes + 1] - self.offsets[nodes]
        places = torch.arange(int(lengths.max()))
        mask = places < lengths[:, None]
        ids = self.ids[(starts[:, None] + places).clamp(max=len(self.ids) - 1)]
        return ids.masked_fill(~mask, pad), mask.long()


def tokenize_names(
    hierarchy: Hierarchy, vocabulary: Vocabulary, max_tokens: int = 16, specials: bool = False
) -> NodeNames:
    """Tokenise the last name of every node's path.

    Args:
        hierarchy: The tree.
        vocabulary: The backbone's tokenizer.
        max_tokens: Tokens kept of a name.
        specials: Put [CLS] before and [SEP] behind every name.
    """
    encoded = vocabulary.tokenizer.encode_batch(hierarchy.names, add_special_tokens=False)
    special = vocabulary.special
    before, behind = ([special.cls], [special.sep]) if specials else ([], [])
    unknown = [special.sep]  # a name of signs that the tokenizer drops
    names = [before + (name.ids[:max_tokens] or unknown) + behind for name in encoded]
    offsets = np.concatenate([[0], np.cumsum([len(name) for name in names])])
    ids = np.concatenate([np.array(name, dtype=np.int64) for name in names])
    return NodeNames(torch.from_numpy(ids), torch.from_numpy(offsets.astype(np.int64)))
