"""HGCLR's positive views: the words of a document that its labels in the tree ask for."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from hierarchy_lm.batches import SparseTargets
from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.nn.block import INIT_STD
from hierarchy_lm.nn.graphormer import Graphormer
from hierarchy_lm.nn.relatives import Relatives
from hierarchy_lm.node_names import NodeNames
from hierarchy_lm.precision import at_least_float32
from hierarchy_lm.pretraining.hgclr_options import ContrastOptions

Embed = Callable[[Tensor], Tensor]


class PositiveSampler(nn.Module):
    """Which tokens of its documents a batch's positive views keep.

    (HGCLR, Positive Sample Generation.) The nodes of the tree pass a :class:`Graphormer`, every
    token attends to them, and what a Gumbel-softmax over the nodes gives to the document's own
    nodes is the token's share.

    Args:
        hierarchy: The tree.
        names: Its nodes' names, [CLS] and [SEP] included.
        pad: Padding's token id.
        width: E of the word embeddings.
        options: As for the module.

    Raises:
        UserError: If the heads do not divide the width.
    """

    name_ids: Tensor
    name_mask: Tensor

    def __init__(
        self, hierarchy: Hierarchy, names: NodeNames, pad: int, width: int, options: ContrastOptions
    ) -> None:
        super().__init__()
        options.check_width(width)
        self.options = options
        ids, mask = names.padded(torch.arange(len(names)), pad)
        self.register_buffer("name_ids", ids, persistent=False)
        self.register_buffer("name_mask", mask, persistent=False)
        self.identities = nn.Parameter(INIT_STD * torch.randn(len(names), width))
        self.relatives = Relatives(hierarchy.parents, hierarchy.level_offsets.tolist())
        self.graph = Graphormer(
            self.relatives, width, options.num_layers, options.num_heads, options.dropout
        )
        self.attention = TokenLabelAttention(width, options.num_heads, options.official)

    def forward(self, words: Tensor, targets: SparseTargets, embed: Embed) -> Tensor:
        """1 where a token stays and 0 where not, with the gradient of its share.

        Officially a token that does not stay has no gradient: what it is worth is never learned.

        Args:
            words: Word embeddings of the documents.
            targets: Their nodes.
            embed: The encoder's embedding layer, from token ids ``(N, T)`` to ``(N, T, E)``.

        Shape:
            - words: ``(B, T, E)``
            - output: ``(B, T)``, float32 at least
        """
        nodes = label_subset(targets.labels, self.relatives.parents, self.options.max_labels)
        features = self.graph(self.features(nodes, embed), nodes)
        scores = self.attention(words, features)
        scores = at_least_float32(scores)
        own = own_labels(targets, nodes, len(words), len(self.identities)).to(scores.dtype)
        with torch.autocast(scores.device.type, enabled=False):  # gamma is smaller than its digits
            probabilities = F.gumbel_softmax(scores, self.options.gumbel_tau, dim=-1)  # (B, T, N)
            shares = torch.einsum("btn,bn->bt", probabilities, own)
        gamma = self.options.threshold(len(nodes))
        kept: Tensor = _Keep.apply(shares, gamma)  # type: ignore[no-untyped-call]
        return kept * kept.detach() if self.options.official else kept

    def features(self, nodes: Tensor, embed: Embed) -> Tensor:
        """Mean of a name's embedded tokens plus what is learned of the node, ``(N, E)``."""
        tokens, mask = embed(self.name_ids[nodes]), self.name_mask[nodes][:, :, None]
        means = (tokens * mask).sum(dim=1) / mask.sum(dim=1)
        return means + self.identities[nodes]


class TokenLabelAttention(nn.Module):
    """Attention scores of tokens to labels, mean over heads.

    Args:
        width: E of tokens and labels.
        num_heads: Must divide it.
        official: Give each head's probabilities over the labels instead of its logits.

    Shape:
        - words: ``(B, T, E)``
        - labels: ``(N, E)``
        - output: ``(B, T, N)``
    """

    def __init__(self, width: int, num_heads: int, official: bool) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.official = official
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        for linear in (self.query, self.key):
            nn.init.normal_(linear.weight, std=INIT_STD)
            nn.init.zeros_(linear.bias)

    def forward(self, words: Tensor, labels: Tensor) -> Tensor:
        """Score every token against every label."""
        query, key = self.query(words), self.key(labels)
        head_size = key.shape[1] // self.num_heads
        if not self.official:
            # The sum over heads of their products is the product of the whole vectors.
            logits: Tensor = query @ key.T / (self.num_heads * head_size**0.5)
            return logits
        heads = zip(query.split(head_size, dim=2), key.split(head_size, dim=1), strict=True)
        total = sum((q @ k.T / head_size**0.5).softmax(dim=2) for q, k in heads)
        return torch.as_tensor(total) / self.num_heads


def label_subset(labels: Tensor, parents: Tensor, size: int) -> Tensor:
    """At most ``size`` nodes, ascending: those given, then their siblings, then random others.

    If the first two are too many, those that stay are drawn. Roots are siblings.

    Shape:
        - labels: ``(P,)`` int64, repetitions allowed
        - parents: ``(C,)`` int64, -1 at a root
        - output: ``(min(C, size),)`` int64
    """
    if len(parents) <= size:
        return torch.arange(len(parents), device=parents.device)
    above = parents + 1
    given = torch.zeros(len(parents), device=parents.device).index_fill(0, labels, 1.0)
    siblings = torch.zeros(len(parents) + 1, device=parents.device)
    siblings = siblings.index_fill(0, above[labels], 1.0)[above]
    # A node given is its own sibling: its rank is at least 2, that of a sibling at least 1.
    ranks = given + siblings + torch.rand(len(parents), device=parents.device)
    return ranks.topk(size).indices.sort().values


def own_labels(targets: SparseTargets, nodes: Tensor, documents: int, num_nodes: int) -> Tensor:
    """1 where one of the ``nodes`` is a document's own, ``(documents, N)`` float32.

    Args:
        targets: Of the documents.
        nodes: Some of the tree, each once.
        documents: B.
        num_nodes: C.
    """
    places = nodes.new_full((num_nodes,), len(nodes))  # behind the last: not among them
    places[nodes] = torch.arange(len(nodes), device=nodes.device)
    own = torch.zeros(documents, len(nodes) + 1, device=nodes.device)
    own[targets.documents, places[targets.labels]] = 1.0
    return own[:, :-1]


class _Keep(torch.autograd.Function):
    """1 above the threshold and 0 below, whose gradient is taken for that of the shares."""

    @staticmethod
    def forward(ctx: Any, shares: Tensor, gamma: float) -> Tensor:  # noqa: ANN401
        return (shares > gamma).to(shares.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        return grad_output, None
