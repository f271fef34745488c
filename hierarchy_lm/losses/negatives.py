r"""Which unlabelled classes count as negatives: :math:`P(\sigma)` of DHPC's Eq. 8."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from hierarchy_lm.batches import SparseTargets
from hierarchy_lm.losses.dhpc_options import NegativeOptions
from hierarchy_lm.losses.dhpc_terms import Draw
from hierarchy_lm.losses.draws import SCALE, exact_threshold, inclusion, ring, uniform_noise
from hierarchy_lm.losses.label_space import Pairs
from hierarchy_lm.losses.preferences import LabelPreferences, Preference


class Sample(NamedTuple):
    """The negatives of a batch.

    Attributes:
        draw: What drops labels by a threshold.
        pairs: Labels that were drawn one by one, with their weight in the loss, 0 if not drawn.
    """

    draw: Draw
    pairs: Pairs

    def dense(self, targets: SparseTargets, batch_size: int, num_labels: int) -> Tensor:
        """Weight of every label's term, ``(B, N)``; for tests and small label sets."""
        weights = self.draw.weight.expand(batch_size, num_labels).clone()
        if self.draw.noise is not None:
            weights[(self.draw.threshold < self.draw.noise).expand_as(weights)] = 0.0
        weights[self.pairs.documents, self.pairs.labels] = self.pairs.weights
        weights[targets.documents, targets.labels] = 1.0
        return weights


class SharedSample(NamedTuple):
    """Negatives that all documents of a batch share; a document's positives are none of its own.

    Shape:
        - noise: ``(1, N)``
        - probabilities: ``(1, 1)`` or ``(1, N)``
    """

    noise: Tensor
    probabilities: Tensor

    def columns(self, targets: SparseTargets) -> Tensor:
        """Sorted ids of the drawn labels and of all positives, ``(S,)``."""
        needed = (self.noise <= SCALE * self.probabilities)[0]
        needed[targets.labels] = True
        return needed.nonzero()[:, 0]

    def at(self, columns: Tensor) -> "SharedSample":
        """The same for some labels only."""
        even = self.probabilities.shape[1] == 1
        probabilities = self.probabilities if even else self.probabilities[:, columns]
        return SharedSample(self.noise[:, columns], probabilities)


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
        device, negatives = targets.labels.device, self._negatives(targets, batch_size)
        if self.options.sampler == "uniform":
            noise = ring(uniform_noise(self.num_labels, device), batch_size)
            wanted = self._wanted(negatives)
            threshold = exact_threshold(noise, targets, wanted)
            weight = self._weight(wanted / negatives, negatives)
            return Sample(Draw(noise, threshold, weight[:, None]), _no_pairs(targets))
        noise = ring(torch.rand(self.num_labels, device=device) * SCALE, batch_size)
        preference = self.preferences(targets)
        if preference.pairs is None:
            probabilities = self._of_all(preference.base)
            draw = Draw(
                noise, SCALE * probabilities, self._weight(probabilities, negatives[:, None])
            )
            return Sample(draw, _no_pairs(targets))
        rest, own = self._by_document(preference, preference.pairs, negatives)
        draw = Draw(noise, SCALE * rest, self._weight(rest, negatives[:, None]))
        documents, labels, _ = preference.pairs
        drawn = noise[documents, labels] <= SCALE * own
        weights = drawn * self._weight(own, negatives[documents])
        return Sample(draw, Pairs(documents, labels, weights))

    def shared(self, targets: SparseTargets) -> SharedSample:
        """Negatives for the whole batch.

        Raises:
            ValueError: If the sampler needs the label space and was not told it.
        """
        device, size = targets.labels.device, self.num_labels
        if self.options.sampler == "uniform":
            share = max(1, round(self.options.keep * size)) / size
            noise = uniform_noise(size, device)
            return SharedSample(noise[None], torch.full((1, 1), share, device=device))
        noise = torch.rand(size, device=device) * SCALE
        base, pairs = self.preferences(targets)
        if pairs is not None:
            more = (pairs.weights - base[0, 0]) / torch.unique(targets.documents).numel()
            base = base.repeat(1, size)
            base[0].index_add_(0, pairs.labels, more)
        return SharedSample(noise[None], self._of_all(base))

    def use(self, shared: SharedSample, targets: SparseTargets, batch_size: int) -> Sample:
        """What a shared sample means for the documents' losses.

        Args:
            shared: All labels, or some columns of them.
            targets: Positives, by label or by place among those columns.
            batch_size: B.
        """
        negatives = self._negatives(targets, batch_size)[:, None]
        weight = self._weight(shared.probabilities, negatives)
        draw = Draw(shared.noise, SCALE * shared.probabilities, weight)
        return Sample(draw, _no_pairs(targets))

    def _negatives(self, targets: SparseTargets, batch_size: int) -> Tensor:
        """Unlabelled classes of each document, ``(B,)``."""
        return self.num_labels - torch.bincount(targets.documents, minlength=batch_size)

    def _wanted(self, negatives: Tensor) -> Tensor:
        """At least one where there is one, so that no weight is infinite."""
        rounded = (self.options.keep * negatives.double()).round().long()
        return torch.minimum(rounded.clamp(min=1), negatives)

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

    def _by_document(
        self, preference: Preference, pairs: Pairs, negatives: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Probabilities of the labels that do not stand out, ``(B, 1)``, and of the pairs."""
        standing_out = torch.bincount(pairs.documents, minlength=len(negatives))
        first = standing_out.cumsum(0) - standing_out
        places = torch.arange(len(pairs.documents), device=negatives.device)
        places = 1 + places - first[pairs.documents]
        weights = pairs.weights.new_zeros(len(negatives), 1 + int(standing_out.max()))
        weights[:, :1] = preference.base
        weights[pairs.documents, places] = pairs.weights
        counts = (weights > 0).to(weights.dtype)
        counts[:, 0] = negatives - standing_out
        probabilities = inclusion(weights, counts, self.options.keep * negatives[:, None])
        return probabilities[:, :1], probabilities[pairs.documents, places]


def _no_pairs(targets: SparseTargets) -> Pairs:
    nothing = targets.labels[:0]
    return Pairs(nothing, nothing, nothing.float())
