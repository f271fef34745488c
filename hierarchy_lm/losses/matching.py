"""Joint and matching loss of texts and labels in one space (HiMatch, Chen et al., 2021)."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

Distance = Literal["sse", "mse"]
MarginMode = Literal["relation", "path_distance"]


@dataclass(frozen=True)
class MatchingOptions:
    """What a text is pulled to and pushed from, and how far.

    Attributes:
        distance: Squared distance of unit vectors, between 0 and 4 (``sse``). The official code's
            mean over dimensions (``mse``) makes it at most 4 / width, so far below the margins that
            these never bind: every companion pushes for ever.
        margin_mode: By the companion's relation to the label, half of ``margin`` for a sibling, the
            whole for any other (``relation``, official); or the share of ``margin`` that the tree
            distance is of the largest that the tree allows (``path_distance``, SST, Section V-D).
        margin: Of the farthest companion.
        parent_slack: How far from a label's parent a text may stay without loss.
        num_positives: Gold labels drawn per product and step; 0 takes all.
        filter_gold: Draw siblings outside of the product's gold labels, and cousins where all are
            gold; the official code takes any sibling.
    """

    distance: Distance = "sse"
    margin_mode: MarginMode = "relation"
    margin: float = 0.2
    parent_slack: float = 0.01
    num_positives: int = 1
    filter_gold: bool = True

    def __post_init__(self) -> None:
        """Refuse negative numbers.

        Raises:
            ValueError: Naming the option.
        """
        for name in ("margin", "parent_slack", "num_positives"):
            if getattr(self, name) < 0:
                raise ValueError(f"matching.{name} must be at least 0, got {getattr(self, name)}")


class Companions(NamedTuple):
    """N drawn gold labels, each with the nodes that it is compared with.

    Attributes:
        documents: Whose gold label it is.
        nodes: The label, its parent (itself if it is a root), a sibling, any other node.
        valid: Whether there is such a sibling and such another node.
        shares: One over the number of labels drawn for the document.

    Shape:
        - documents, shares: ``(N,)``
        - nodes: ``(4, N)``
        - valid: ``(2, N)`` bool
    """

    documents: Tensor
    nodes: Tensor
    valid: Tensor
    shares: Tensor


def margins(steps: Tensor, depth: int, options: MatchingOptions) -> Tensor:
    """Margins of siblings and others.

    Args:
        steps: Tree distance of each from its label.
        depth: L, levels of the tree, whose largest distance is 2 L.
        options: Kind and size.

    Shape:
        - steps, output: ``(2, N)``
    """
    if options.margin_mode == "path_distance":
        return options.margin * steps / (2 * depth)
    by_relation = torch.tensor([0.5, 1.0], device=steps.device)[:, None]
    return (options.margin * by_relation).expand(steps.shape)


def matching_loss(
    texts: Tensor, labels: Tensor, margin: Tensor, companions: Companions, options: MatchingOptions
) -> Tensor:
    r"""Joint plus matching loss, summed over the drawn labels by their shares.

    .. math::
        D(t, c^+) + \max(0, D(t, c_{par}) - s)
        + \max(0, D(t, c^+) - D(t, c_{sib}) + g_{sib})
        + \max(0, D(t, c^+) - D(t, c_{oth}) + g_{oth})

    Under ``mse`` the slack :math:`s` is divided by the width as the distance is, the margins are
    not, as in the official code.

    Args:
        texts: Unit vectors of the drawn labels' documents.
        labels: Unit vectors of ``companions.nodes``.
        margin: Of siblings and others.
        companions: What was drawn.
        options: The distance and the slack.

    Shape:
        - texts: ``(N, w)``
        - labels: ``(4, N, w)``
        - margin: ``(2, N)``
        - output: scalar
    """
    per_unit = 1 / texts.shape[-1] if options.distance == "mse" else 1.0
    distances = per_unit * (texts - labels).square().sum(dim=-1)
    positive, parent = distances[:2]
    joint = positive + torch.relu(parent - per_unit * options.parent_slack)
    hinges = torch.relu(positive - distances[2:] + margin) * companions.valid
    total: Tensor = ((joint + hinges.sum(dim=0)) * companions.shares).sum()
    return total
