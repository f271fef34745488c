"""Label names as vectors, for negatives drawn by meaning."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from hierarchy_lm.backbones.backbone import Backbone
from hierarchy_lm.vocabulary import load_vocabulary


@torch.no_grad()
def name_vectors(names: Sequence[str], tokenizer: str, backbone: Backbone) -> Tensor:
    """Mean of the encoder's word embeddings over the tokens of each name, special ones left out.

    Shape:
        - output: ``(N, e)`` float32 on the CPU; zeros for a name without tokens
    """
    encodings = load_vocabulary(tokenizer).tokenizer.encode_batch_fast(
        list(names), add_special_tokens=False
    )
    ids = [encoding.ids for encoding in encodings]
    owners = torch.repeat_interleave(torch.tensor([len(part) for part in ids]))
    embeddings = cast(nn.Embedding, backbone.encoder.get_input_embeddings())
    flat = torch.tensor([token for part in ids for token in part], dtype=torch.long)
    words = embeddings.weight.cpu()[flat].float()
    sums = torch.zeros(len(ids), words.shape[1]).index_add_(0, owners, words)
    return sums / torch.bincount(owners, minlength=len(ids)).clamp(min=1)[:, None]
