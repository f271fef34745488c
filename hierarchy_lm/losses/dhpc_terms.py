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

# No kept label lies so low; a dropped one does, though not at infinity, which would give 0 * inf.
_HARDLY = -1e20
_CPU_PIECE, _GPU_PIECE = 2**18, 2**26


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
        - documents, labels: ``(E,)`` int64, each pair once
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
        columns = zip(self, (documents, labels, weights, targets), strict=True)
        return Exceptions(*(torch.cat(column) for column in columns))


class Draw(NamedTuple):
    """Which negatives a document keeps, and what each weighs.

    What is added to a label's logit is 0 where it is kept and far below every logit where it is
    dropped: ``mask`` itself, or with a threshold what lies below 0 of the sum of both.

    Shape:
        - mask: ``(B, N)``, as a rule a view of much less memory, or ``(1, N)``; None keeps all
        - threshold: ``(B, 1)``, ``(1, N)`` or ``(1, 1)``, or None
        - weight: ``(B, 1)``, ``(1, N)`` or ``(1, 1)``
    """

    mask: Tensor | None
    threshold: Tensor | None
    weight: Tensor

    def of(self, rows: slice) -> "Draw":
        """The draw of some documents."""
        mask, threshold, weight = self
        return Draw(
            None if mask is None else _rows(mask, rows),
            None if threshold is None else _rows(threshold, rows),
            _rows(weight, rows),
        )

    def at(self, documents: Tensor, labels: Tensor) -> "Draw":
        """The draw at some pairs; ``(E,)`` each."""
        mask, threshold, weight = self
        return Draw(
            None if mask is None else _at(mask, documents, labels),
            None if threshold is None else _at(threshold, documents, labels),
            _at(weight, documents, labels),
        )

    def dropped(self) -> Tensor | None:
        """What is added to the logits."""
        if self.mask is None or self.threshold is None:
            return self.mask
        return (self.mask + self.threshold).clamp_max_(0.0)


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
        total = _exceptions_value(logits, exceptions, draw, terms)
        for rows, room in _pieces(logits):
            total = total + _piece_value(logits[rows], draw.of(rows), terms, room)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        (logits,) = ctx.saved_tensors
        exceptions, draw, terms = ctx.rest
        scale = grad_output / terms.temperature
        grad = torch.empty_like(logits)
        for rows, room in _pieces(logits):
            _piece_gradient(logits[rows], draw.of(rows), terms, scale, room, grad[rows])
        documents, labels, weights, targets = exceptions
        own_logits = logits[documents, labels]
        u = _sharpened(own_logits, terms, _room(own_logits))
        at_exceptions = weights * terms.beta * (torch.sigmoid(u) - targets)
        if terms.beta < 1:
            own = 1.0 if terms.everywhere else weights
            at_exceptions = at_exceptions + own * _belief_gradient(u, terms)
        grad[documents, labels] = (scale * at_exceptions).to(grad.dtype)
        return grad, None, None, None


def _exceptions_value(logits: Tensor, exceptions: Exceptions, draw: Draw, terms: Terms) -> Tensor:
    """What the exceptions add, less what the dense part counts for them."""
    documents, labels, weights, targets = exceptions
    at_exceptions = logits[documents, labels]
    u = _sharpened(at_exceptions, terms, _room(at_exceptions))
    values = weights * terms.beta * (targets * F.softplus(-u) + (1.0 - targets) * F.softplus(u))
    if terms.beta < 1 and not terms.everywhere:
        values = values + weights * _belief(u, terms)
    there = draw.at(documents, labels)
    counted = _dense(_masked(at_exceptions, there, terms, torch.empty_like(u)), terms)
    return (values - there.weight * counted).sum()


def _piece_value(logits: Tensor, draw: Draw, terms: Terms, room: Tensor) -> Tensor:
    """Some rows, as if all labels were negatives."""
    values = _dense(_masked(logits, draw, terms, room), terms)
    # Not a matrix product, which autocast would round.
    by_row = draw.weight.shape[1] == 1
    total = (values.sum(dim=1 if by_row else 0, keepdim=True) * draw.weight).sum()
    if terms.everywhere:
        total = total + _belief(_sharpened(logits, terms, room), terms).sum()
    return total


def _dense(u: Tensor, terms: Terms) -> Tensor:
    """Terms of negatives, where u was if that is all it takes."""
    if terms.beta == 1 and not terms.unlabelled:
        values: Tensor = torch.ops.aten.softplus.out(u, out=u)
        return values
    values = F.softplus(u)
    if terms.unlabelled:
        values -= terms.unlabelled * u.masked_fill(u < _HARDLY, 0.0)
    if terms.beta < 1:
        values *= terms.beta
        if not terms.everywhere:
            values += _belief(u, terms)
    return values


def _piece_gradient(
    logits: Tensor, draw: Draw, terms: Terms, scale: Tensor, room: Tensor, out: Tensor
) -> None:
    """Gradient of some rows; what it writes at the exceptions is not used."""
    u, weight = _masked(logits, draw, terms, room), draw.weight * scale
    if terms.beta == 1 and not terms.unlabelled:
        torch.mul(u.sigmoid_(), weight, out=out)
        return
    grad = torch.sigmoid(u)
    if terms.unlabelled:
        grad -= terms.unlabelled * (u > _HARDLY)
    grad *= terms.beta
    if terms.beta < 1 and not terms.everywhere:
        grad += _belief_gradient(u, terms)
    grad *= weight
    if terms.everywhere:
        grad += scale * _belief_gradient(_sharpened(logits, terms, room), terms)
    out.copy_(grad)


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


def _masked(logits: Tensor, draw: Draw, terms: Terms, room: Tensor) -> Tensor:
    """Values u of the kept labels, and so little at the dropped ones that they leave nothing."""
    dropped = draw.dropped()
    if dropped is None:
        return _sharpened(logits, terms, room)
    return torch.add(dropped, logits, alpha=1.0 / terms.temperature, out=room)


def _rows(values: Tensor, rows: slice) -> Tensor:
    return values if len(values) == 1 else values[rows]


def _at(values: Tensor, documents: Tensor, labels: Tensor) -> Tensor:
    row, column = (size > 1 for size in values.shape)
    if row and column:
        return values[documents, labels]
    if row:
        return values[documents, 0]
    return values[0, labels] if column else values[0]


def _sharpened(logits: Tensor, terms: Terms, room: Tensor) -> Tensor:
    """Values z / eps."""
    room.copy_(logits)
    return room if terms.temperature == 1 else room.mul_(1.0 / terms.temperature)


def _room(logits: Tensor) -> Tensor:
    """As much memory, at least float32."""
    dtype = torch.float64 if logits.dtype == torch.float64 else torch.float32
    return torch.empty_like(logits, dtype=dtype)


def _pieces(logits: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Rows that fit the cache, and memory for u, the same each time."""
    size = _CPU_PIECE if logits.device.type == "cpu" else _GPU_PIECE
    step = max(1, size // max(1, logits.shape[1]))
    room = _room(logits[:step])
    for start in range(0, len(logits), step):
        stop = min(start + step, len(logits))
        yield slice(start, stop), room[: stop - start]
