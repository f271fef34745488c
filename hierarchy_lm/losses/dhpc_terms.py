r"""The terms of DHPC's loss on every label, row by row, with the gradient written in one go.

A term is a function of :math:`u = z / \epsilon`. The labels fall into a dense part, where all are
negatives, and exceptions given as coordinates: the positives, and negatives whose weight is their
own. Rows go through in pieces that fit the cache, so that beside the logits the gradient is the
only ``(B, N)`` tensor.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from hierarchy_lm.losses.dhpc_options import BootstrapForm

# Added to a logit, it leaves no value and no gradient; infinity would give 0 * inf.
DROPPED = -1e30
_HARDLY = -1e20
_CPU_PIECE, _GPU_PIECE = 2**16, 2**26


@dataclass(frozen=True)
class Terms:
    r"""The numbers of Eqs. 6 to 10 at one step.

    Attributes:
        beta: :math:`\hat\beta` (Eq. 7).
        form: What the bootstrap adds.
        detach: Take the belief as a constant.
        everywhere: The bootstrap takes all labels alike, drawn or not.
        temperature: :math:`\epsilon` (Eq. 10).
        unlabelled: Smoothed target of a negative (Eq. 9).
    """

    beta: float
    form: BootstrapForm
    detach: bool
    everywhere: bool
    temperature: float
    unlabelled: float


class Exceptions(NamedTuple):
    """Labels that are not plain drawn negatives: the positives first of all.

    Shape:
        - documents, labels: ``(E,)`` int64, each pair once, sorted by document
        - weights, targets: ``(E,)``, weight and (smoothed) target of the term
    """

    documents: Tensor
    labels: Tensor
    weights: Tensor
    targets: Tensor

    def merged(
        self, documents: Tensor, labels: Tensor, weights: Tensor, targets: Tensor
    ) -> "Exceptions":
        """These and others, none of them twice."""
        if not len(documents):
            return self
        order = torch.cat([self.documents, documents]).argsort(stable=True)
        columns = zip(self, (documents, labels, weights, targets), strict=True)
        return Exceptions(*(torch.cat(column)[order] for column in columns))


class Draw(NamedTuple):
    """Which negatives a document keeps, and what each weighs.

    A label is kept where its noise does not exceed the threshold. Both are scaled, so that the
    difference, cut at 0, is what a dropped label adds to its logit.

    Shape:
        - noise: ``(B, N)``, as a rule a view of much less memory, or ``(1, N)``; None keeps all
        - threshold, weight: ``(B, 1)``, ``(1, N)`` or ``(1, 1)``
    """

    noise: Tensor | None
    threshold: Tensor
    weight: Tensor


def dhpc_terms(logits: Tensor, exceptions: Exceptions, draw: Draw, terms: Terms) -> Tensor:
    r"""Sum of Eq. 8 over documents and labels.

    Shape:
        - logits: ``(B, N)``, any float dtype
        - output: scalar, float32 (float64 for float64 logits)
    """
    loss: Tensor = _DHPCTerms.apply(logits, exceptions, draw, terms)  # type: ignore[no-untyped-call]
    return loss


class _DHPCTerms(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        logits: Tensor,
        exceptions: Exceptions,
        draw: Draw,
        terms: Terms,
    ) -> Tensor:
        ctx.save_for_backward(logits)
        ctx.rest = exceptions, draw, terms
        at_exceptions = _sharpened(logits[exceptions.documents, exceptions.labels], terms)
        total = (exceptions.weights * _supervised(at_exceptions, exceptions.targets, terms)).sum()
        if terms.beta < 1:
            own = 1.0 if terms.everywhere else exceptions.weights
            total = total + (own * _belief(at_exceptions, terms)).sum()
        for rows in _pieces(logits):
            total = total + _piece_value(logits[rows], rows, exceptions, draw, terms)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        (logits,) = ctx.saved_tensors
        exceptions, draw, terms = ctx.rest
        scale = grad_output / terms.temperature
        grad = torch.empty_like(logits)
        for rows in _pieces(logits):
            _piece_gradient(logits[rows], rows, draw, terms, scale, grad[rows])
        u = _sharpened(logits[exceptions.documents, exceptions.labels], terms)
        at_exceptions = exceptions.weights * terms.beta * (torch.sigmoid(u) - exceptions.targets)
        if terms.beta < 1:
            own = 1.0 if terms.everywhere else exceptions.weights
            at_exceptions = at_exceptions + own * _belief_gradient(u, terms)
        grad[exceptions.documents, exceptions.labels] = (scale * at_exceptions).to(grad.dtype)
        return grad, None, None, None


def _piece_value(
    logits: Tensor, rows: slice, exceptions: Exceptions, draw: Draw, terms: Terms
) -> Tensor:
    """The dense part of some rows: all labels but the exceptions."""
    inside = _within(exceptions.documents, rows)
    cells = exceptions.documents[inside] - rows.start, exceptions.labels[inside]
    u = _masked(logits, rows, draw, terms)
    u[cells] = DROPPED
    values = F.softplus(u)
    if terms.unlabelled:
        values -= terms.unlabelled * u.masked_fill(u < _HARDLY, 0.0)
    values *= terms.beta
    if terms.beta < 1 and not terms.everywhere:
        values += _belief(u, terms)
    total = _weighted_sum(values, _rows(draw.weight, rows))
    if terms.beta < 1 and terms.everywhere:
        u = _sharpened(logits, terms)
        u[cells] = DROPPED
        total = total + _belief(u, terms).sum()
    return total


def _piece_gradient(
    logits: Tensor, rows: slice, draw: Draw, terms: Terms, scale: Tensor, out: Tensor
) -> None:
    """Gradient of the dense part of some rows; what it writes at the exceptions is not used."""
    u = _masked(logits, rows, draw, terms)
    weight = _rows(draw.weight, rows) * scale
    if terms.beta == 1 and not terms.unlabelled:
        torch.mul(torch.sigmoid(u), weight, out=out)
        return
    grad = torch.sigmoid(u)
    if terms.unlabelled:
        grad -= terms.unlabelled * (u > _HARDLY)
    grad *= terms.beta
    if terms.beta < 1 and not terms.everywhere:
        grad += _belief_gradient(u, terms)
    grad *= weight
    if terms.beta < 1 and terms.everywhere:
        grad += scale * _belief_gradient(_sharpened(logits, terms), terms)
    out.copy_(grad)


def _supervised(u: Tensor, targets: Tensor, terms: Terms) -> Tensor:
    """BCE (Eq. 5)."""
    return terms.beta * (targets * F.softplus(-u) + (1.0 - targets) * F.softplus(u))


def _belief(u: Tensor, terms: Terms) -> Tensor:
    """What bootstrap learning adds (Eq. 6)."""
    match terms.form:
        case "paper":
            values = -torch.sigmoid(u) * F.logsigmoid(u)
        case "symmetric":
            q = torch.sigmoid(u)
            values = -q * F.logsigmoid(u) - torch.sigmoid(-u) * F.logsigmoid(-u)
        case "hard":
            values = F.softplus(-u.abs())
    return (1.0 - terms.beta) * values


def _belief_gradient(u: Tensor, terms: Terms) -> Tensor:
    """Derivative of ``_belief`` by u."""
    q = torch.sigmoid(u)
    if terms.form == "hard":
        values = q - (u > 0).to(q.dtype)
    elif terms.form == "symmetric":
        values = torch.zeros_like(u) if terms.detach else -u * q * torch.sigmoid(-u)
    else:
        values = -q * torch.sigmoid(-u)
        if not terms.detach:
            values *= 1.0 + F.logsigmoid(u)
    return (1.0 - terms.beta) * values


def _masked(logits: Tensor, rows: slice, draw: Draw, terms: Terms) -> Tensor:
    """Values u of the kept labels, and so little at the dropped ones that they leave nothing."""
    if draw.noise is None:
        return _sharpened(logits, terms)
    dropped = (_rows(draw.threshold, rows) - _rows(draw.noise, rows)).clamp_max_(0.0)
    return torch.add(dropped, logits, alpha=1.0 / terms.temperature)


def _sharpened(logits: Tensor, terms: Terms) -> Tensor:
    """Values z / eps in at least float32, in new memory."""
    dtype = torch.float64 if logits.dtype == torch.float64 else torch.float32
    return torch.mul(logits.to(dtype), 1.0 / terms.temperature)


def _weighted_sum(values: Tensor, weight: Tensor) -> Tensor:
    # Not a matrix product, which autocast would round.
    return (values.sum(dim=1 if weight.shape[1] == 1 else 0, keepdim=True) * weight).sum()


def _rows(values: Tensor, rows: slice) -> Tensor:
    return values if len(values) == 1 else values[rows]


def _within(documents: Tensor, rows: slice) -> slice:
    """Where in the sorted ``documents`` those of some rows are."""
    ends = torch.tensor([rows.start, rows.stop], device=documents.device)
    start, stop = torch.searchsorted(documents, ends).tolist()
    return slice(start, stop)


def _pieces(logits: Tensor) -> Iterator[slice]:
    size = _CPU_PIECE if logits.device.type == "cpu" else _GPU_PIECE
    step = max(1, size // max(1, logits.shape[1]))
    for start in range(0, len(logits), step):
        yield slice(start, min(start + step, len(logits)))
