"""DHPC's loss: BCE with bootstrap learning, negative sampling and soft labels."""

import torch
from torch import Tensor, nn

from hierarchy_lm.batches import SparseTargets
from hierarchy_lm.losses.dhpc_options import DHPCOptions
from hierarchy_lm.losses.dhpc_terms import Draw, Exceptions, Terms, dhpc_terms
from hierarchy_lm.losses.functional import block_bce
from hierarchy_lm.losses.label_space import LabelSpace
from hierarchy_lm.losses.negatives import NegativeSampler, Sample, SharedSample

# Above this share, gathering the head's weights costs what fewer columns save.
_MOST_COLUMNS = 0.6


class DHPCLoss(nn.Module):
    r"""Multi-label loss against noisy and incomplete labels (DHPC, D.1 to D.3, Eqs. 5 to 10).

    For a document with positives P and drawn negatives S, :math:`q = \sigma(z / \epsilon(t))`:

    .. math::
        L = -\hat\beta \sum_{k \in P} \log q_k
            - \hat\beta \frac{N_{neg}}{\sigma N} \sum_{j \in S} \log (1 - q_j)
            - (1 - \hat\beta) \sum_{k=1}^{N} q_k \log q_k

    The leading minus of Eqs. 6 and 8 is read as that of every term. Each option departs from this
    in one place; all defaults together are plain BCE. Negatives come from torch's global generator.

    Args:
        options: Bootstrap, negatives, temperature, smoothing, reduction.
        num_labels: N.
        labels: What the samplers ``frequency``, ``confusion`` and ``semantic`` look at; may come
            later, by ``set_label_space``.

    Shape:
        - logits: ``(B, N)``, any float dtype
        - output: scalar, mean over documents, float32 (float64 for float64 logits)
    """

    def __init__(
        self, options: DHPCOptions, num_labels: int, labels: LabelSpace | None = None
    ) -> None:
        super().__init__()
        self.options = options
        self.num_labels = num_labels
        self.sampler = NegativeSampler(options.negatives, num_labels)
        self.total_steps: int | None = None
        self._shared: tuple[Tensor, SharedSample] | None = None
        if labels is not None:
            self.set_label_space(labels)

    def set_label_space(self, labels: LabelSpace) -> None:
        """Tell the samplers what is known of the labels; no part of a checkpoint.

        Raises:
            ValueError: If it is not the space of N labels.
        """
        self.sampler.preferences.set_label_space(labels)

    def set_total_steps(self, total_steps: int) -> None:
        """Tell a gate that is a share how many optimiser steps the run has; not in a checkpoint."""
        self.total_steps = total_steps

    def forward(self, logits: Tensor, targets: SparseTargets, step: int) -> Tensor:
        """The loss at an optimiser step.

        Raises:
            ValueError: If the sampler needs the label space, or the gate the number of steps, and
                was not told it.
        """
        terms = self._terms(step)
        if self._is_plain(terms):
            scale = logits.new_full((len(logits), 1), self._scale(logits), dtype=torch.float32)
            blocks = torch.zeros_like(targets.labels)
            return block_bce(logits, targets, blocks, scale, [0, self.num_labels])
        sample = self._sample(targets, len(logits))
        self._observe(logits, targets, None)
        return self._loss(logits, targets, sample, terms)

    def columns(self, targets: SparseTargets, step: int) -> Tensor | None:
        """Draw this step's negatives, if the loss needs the logits of a part of the labels only.

        That is so if the batch shares its negatives, nothing else looks at all labels, and the
        share kept is small enough to gain time.

        Returns:
            Sorted ids of the drawn labels and of the batch's positives, ``(S,)``, for
            ``forward_columns``; None, without a draw, where it takes all logits.

        Raises:
            ValueError: If the sampler needs the label space and was not told it.
        """
        negatives = self.options.negatives
        gains = negatives.per == "batch" and negatives.keep <= _MOST_COLUMNS
        if not gains or self._terms(step).everywhere:
            return None
        shared = self.sampler.shared(targets)
        columns = shared.columns(targets)
        self._shared = columns, shared.at(columns)
        return columns

    def forward_columns(
        self, logits: Tensor, columns: Tensor, targets: SparseTargets, step: int
    ) -> Tensor:
        """The loss from the logits of the columns that were drawn last.

        Shape:
            - logits: ``(B, S)``
            - columns: ``(S,)``, what ``columns`` gave for these targets and this step

        Raises:
            ValueError: If the columns are not those drawn last.
        """
        if self._shared is None or self._shared[0] is not columns:
            raise ValueError("columns: not those drawn last; call columns() before each loss")
        (_, shared), self._shared = self._shared, None
        self._observe(logits, targets, columns)
        places = torch.searchsorted(columns, targets.labels)
        inside = SparseTargets(targets.documents, places)
        sample = self.sampler.use(shared, inside, len(logits))
        return self._loss(logits, inside, sample, self._terms(step))

    def _terms(self, step: int) -> Terms:
        options = self.options
        beta = options.bootstrap.beta_hat(step, self.total_steps)
        return Terms(
            beta=beta,
            form=options.bootstrap.form,
            detach=options.bootstrap.detach,
            everywhere=beta < 1 and options.bootstrap.over == "all",
            temperature=options.temperature.at(step),
            unlabelled=options.label_smoothing / self.num_labels,
        )

    def _is_plain(self, terms: Terms) -> bool:
        return (
            terms.beta == terms.temperature == self.options.negatives.keep == 1
            and not terms.unlabelled
        )

    def _scale(self, logits: Tensor) -> float:
        mean = self.options.class_reduction == "mean"
        return 1.0 / (len(logits) * (self.num_labels if mean else 1))

    def _sample(self, targets: SparseTargets, batch_size: int) -> Sample | None:
        negatives = self.options.negatives
        if negatives.keep == 1:
            return None
        if negatives.per == "batch":
            return self.sampler.use(self.sampler.shared(targets), targets, batch_size)
        sample: Sample = self.sampler(targets, batch_size)
        return sample

    def _loss(
        self, logits: Tensor, targets: SparseTargets, sample: Sample | None, terms: Terms
    ) -> Tensor:
        positive = 1.0 - self.options.label_smoothing + terms.unlabelled
        ones = torch.ones_like(targets.labels, dtype=torch.float32)
        exceptions = Exceptions(*targets, ones, positive * ones)
        if sample is None:
            draw = Draw(None, ones.new_ones(1, 1), ones.new_ones(1, 1))
        else:
            draw, pairs = sample
            exceptions = exceptions.merged(*pairs, torch.full_like(pairs.weights, terms.unlabelled))
        return self._scale(logits) * dhpc_terms(logits, exceptions, draw, terms)

    def _observe(self, logits: Tensor, targets: SparseTargets, columns: Tensor | None) -> None:
        if self.training and self.options.negatives.keep < 1:
            self.sampler.preferences.observe(logits, targets, columns)
