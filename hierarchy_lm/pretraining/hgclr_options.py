"""How HGCLR makes and contrasts its positive views."""

from dataclasses import dataclass

from hierarchy_lm.errors import UserError


@dataclass(frozen=True)
class ContrastOptions:
    """The positive views and their contrastive loss (HGCLR, Methodology).

    The weight is the published one for NYT: a deep tree, several paths per document.

    Attributes:
        weight: Lambda of the contrastive loss.
        gamma: A token stays in the positive view if the share of its attention that goes to the
            document's own nodes exceeds this. At random it is on average the number of these nodes
            divided by that of all that take part, so that what fits depends on both. None: a third
            of what one node has at random, as the published 0.002 of NYT's 166 nodes.
        gumbel_tau: Temperature of the Gumbel-softmax over labels.
        tau: Temperature of the contrastive loss.
        max_labels: Labels that a batch's tokens are compared with. A tree that has no more takes
            part wholly; of a larger one the nodes of the batch's documents, then their siblings,
            then others, drawn in every step.
        num_layers: Graphormer layers over the labels; the last one has no feed-forward sub-layer.
        num_heads: Of these and of the attention of tokens to labels.
        dropout: On [CLS] before head and projector, once more inside the projector, and in the
            Graphormer. The encoder's own may be 0 (ALBERT), and then it alone tells the two views
            of a document apart that keep all words.
        official: As the published code: the Gumbel-softmax takes the attention's probabilities
            instead of its logits, no gradient passes tokens that were left out, and the contrastive
            loss does not get ``tau`` (it is 1).
    """

    weight: float = 0.3
    gamma: float | None = None
    gumbel_tau: float = 1.0
    tau: float = 1.0
    max_labels: int = 1024
    num_layers: int = 1
    num_heads: int = 8
    dropout: float = 0.1
    official: bool = False

    def __post_init__(self) -> None:
        """Refuse what has no meaning.

        Raises:
            ValueError: Naming the option.
        """
        for name in ("gumbel_tau", "tau"):
            if getattr(self, name) <= 0:
                raise ValueError(f"contrast.{name} must be above 0, got {getattr(self, name)}")
        for name in ("max_labels", "num_layers", "num_heads"):
            if getattr(self, name) < 1:
                raise ValueError(f"contrast.{name} must be at least 1, got {getattr(self, name)}")
        for name in ("gamma", "dropout"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1:
                raise ValueError(f"contrast.{name} must be from 0 to below 1, got {value}")
        if self.weight < 0:
            raise ValueError(f"contrast.weight must be at least 0, got {self.weight}")

    def threshold(self, num_labels: int) -> float:
        """Gamma where so many nodes take part."""
        return 1 / (3 * num_labels) if self.gamma is None else self.gamma

    def check_width(self, width: int) -> None:
        """Check that the heads divide the width of the word embeddings.

        Raises:
            UserError: If they do not.
        """
        if width % self.num_heads:
            raise UserError(
                f"model.contrast.num_heads: {self.num_heads} heads do not divide the word "
                f"embeddings' {width} dimensions; set one that does"
            )
