r"""Which unlabelled classes count as negatives: :math:`P(\sigma)` of DHPC's Eq. 8."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from hierarchy_lm.batches import SparseTargets
from hierarchy_lm.losses.dhpc_options import NegativeOptions
from hierarchy_lm.losses.dhpc_terms import Draw
from hierarchy_lm.losses.draws import SCALE, exact_draw, inclusion, random_ring
from hierarchy_lm.losses.label_space import Pairs
from hierarchy_lm.losses.preferences import LabelPreferences, Preference


class Sample(NamedTuple):
    """The negatives of a batch.

    Attributes:
        draw: What most labels are drawn by.
        pairs: Labels that were drawn one by one, with their weight in the loss, 0 if not drawn.
    """

    draw: Draw
    pairs: Pairs

    def dense(self, targets: SparseTargets, batch_size: int, num_labels: int) -> Tensor:
        """Weight of every label's term, ``(B, N)``; for tests and small label sets."""
        weights = self.draw.weight.expand(batch_size, num_labels).clone()
        dropped = self.draw.dropped()
        if dropped is not None:
            weights[(dropped < 0).expand_as(weights)] = 0.0
        weights[self.pairs.documents, self.pairs.labels] = self.pairs.weights
        weights[targets.documents, targets.labels] = 1.0
        return weights


class SharedSample(NamedTuple):
    """Negatives that all documents of a batch share; a document's positives are none of its own.

    Shape:
        - drawn: ``(1, N)`` bool
        - probabilities: ``(1, 1)`` or ``(1, N)``
    """

    drawn: Tensor
    probabilities: Tensor

    def columns(self, targets: SparseTargets) -> Tensor:
        """Sorted ids of the drawn labels and of all positives, ``(S,)``."""
        needed = self.drawn[0].clone()
        needed[targets.labels] = True
        return needed.nonzero()[:, 0]

    def at(self, columns: Tensor) -> "SharedSample":
        """The same for some labels only."""
        even = self.probabilities.shape[1] == 1
        probabilities = self.probabilities if even else self.probabilities[:, columns]
        return SharedSample(self.drawn[:, columns], probabilities)


class NegativeSampler(nn.Module):
    """Draws the negatives of each batch from torch's global generator.

    Args:
        options: Share, sampler and weight.
        num_labels: N.
    """

    def __init__(self, options: NegativeOptions, num_labels: int) -> None:
        super().__init__()
        self.options = options
        self.num_labels = num_labels
        self.preferences = LabelPreferences(options.sampler, num_labels)

    def forward(self, targets: SparseTargets, batch_size: int) -> Sample:
        """Negatives of each document by itself.

        Raises:
            ValueError: If the sampler needs the label space and was not told it.
        """
        negatives = self._negatives(targets, batch_size)
        if self.options.sampler == "uniform":
            return self._exact(targets, negatives)
        preference = self.preferences(targets)
        noise = torch.rand(self.num_labels, device=negatives.device)
        ring = random_ring(self.num_labels, batch_size)
        if preference.pairs is not None:
            minus_noise = ring.view(-SCALE * noise, batch_size)
            return self._by_document(minus_noise, preference, preference.pairs, negatives)
        probabilities = self._of_all(preference.base)
        weight = self._weight(probabilities, negatives[:, None])
        if probabilities.shape[1] == 1:
            mask = ring.view((noise > self.options.keep) * -SCALE, batch_size)
            return Sample(Draw(mask, None, weight), _no_pairs(targets))
        draw = Draw(ring.view(-SCALE * noise, batch_size), SCALE * probabilities, weight)
        return Sample(draw, _no_pairs(targets))

    def shared(self, targets: SparseTargets) -> SharedSample:
        """Negatives for the whole batch.

        Raises:
            ValueError: If the sampler needs the label space and was not told it.
        """
        device, size = targets.labels.device, self.num_labels
        if self.options.sampler == "uniform":
            count = max(1, round(self.options.keep * size))
            drawn = torch.randperm(size, device=device) < count
            return SharedSample(drawn[None], torch.full((1, 1), count / size, device=device))
        base, pairs = self.preferences(targets)
        if pairs is not None:
            more = (pairs.weights - base[0, 0]) / torch.unique(targets.documents).numel()
            base = base.repeat(1, size)
            base[0].index_add_(0, pairs.labels, more)
        probabilities = self._of_all(base)
        return SharedSample(torch.rand(1, size, device=device) <= probabilities, probabilities)

    def use(self, shared: SharedSample, targets: SparseTargets, batch_size: int) -> Sample:
        """What a shared sample means for the documents' losses.

        Args:
            shared: All labels, or some columns of them.
            targets: Positives, by label or by place among those columns.
            batch_size: B.
        """
        negatives = self._negatives(targets, batch_size)[:, None]
        weight = self._weight(shared.probabilities, negatives)
        return Sample(Draw(~shared.drawn * -SCALE, None, weight), _no_pairs(targets))

    def _exact(self, targets: SparseTargets, negatives: Tensor) -> Sample:
        # At least one, so that no weight is infinite.
        wanted = (self.options.keep * negatives.double()).round().long().clamp_(min=1)
        mask, documents, labels = exact_draw(targets, wanted, self.num_labels)
        weight = self._weight(wanted / negatives.clamp(min=1), negatives)
        pairs = Pairs(documents, labels, weight[documents])
        return Sample(Draw(mask, None, weight[:, None]), pairs)

    def _by_document(
        self, minus_noise: Tensor, preference: Preference, pairs: Pairs, negatives: Tensor
    ) -> Sample:
        """Draws whose probabilities differ from one document to the next."""
        documents, labels, _ = pairs
        rest, own = self._probabilities(preference.base, pairs, negatives)
        draw = Draw(minus_noise, SCALE * rest, self._weight(rest, negatives[:, None]))
        drawn = minus_noise[documents, labels] + SCALE * own >= 0
        weights = drawn * self._weight(own, negatives[documents])
        return Sample(draw, Pairs(documents, labels, weights))

    def _negatives(self, targets: SparseTargets, batch_size: int) -> Tensor:
        """Unlabelled classes of each document, ``(B,)``."""
        return self.num_labels - torch.bincount(targets.documents, minlength=batch_size)

    def _weight(self, probabilities: Tensor, negatives: Tensor) -> Tensor:
        """Factor of a drawn negative (Eq. 8)."""
        match self.options.scale:
            case "paper":
                return negatives / (self.options.keep * self.num_labels)
            case "unbiased":
                return 1.0 / probabilities
            case "none":
                return torch.ones_like(probabilities)

    def _of_all(self, weights: Tensor) -> Tensor:
        """Probabilities that draw the share asked for of all labels."""
        if weights.shape[1] == 1:
            return torch.full_like(weights, self.options.keep)
        expected = weights.new_full((1, 1), self.options.keep * self.num_labels)
        return inclusion(weights, torch.ones_like(weights), expected)

    def _probabilities(
        self, base: Tensor, pairs: Pairs, negatives: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Probabilities of the labels that do not stand out, ``(B, 1)``, and of the pairs."""
        standing_out = torch.bincount(pairs.documents, minlength=len(negatives))
        first = standing_out.cumsum(0) - standing_out
        places = torch.arange(len(pairs.documents), device=negatives.device)
        places = 1 + places - first[pairs.documents]
        weights = base.new_zeros(len(negatives), 1 + int(standing_out.max()))
        weights[:, :1] = base
        weights[pairs.documents, places] = pairs.weights
        counts = (weights > 0).to(weights.dtype)
        counts[:, 0] = negatives - standing_out
        probabilities = inclusion(weights, counts, self.options.keep * negatives[:, None])
        return probabilities[:, :1], probabilities[pairs.documents, places]


def _no_pairs(targets: SparseTargets) -> Pairs:
    nothing = targets.labels[:0]
    return Pairs(nothing, nothing, nothing.float())
