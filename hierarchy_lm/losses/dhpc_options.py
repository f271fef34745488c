"""Options of DHPC's noise-robust loss; every default leaves plain binary cross-entropy."""

import math
from dataclasses import dataclass
from typing import Literal

BootstrapForm = Literal["paper", "symmetric", "hard"]
Sampler = Literal["uniform", "bernoulli", "frequency", "confusion", "semantic"]


def _choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"loss.{name}: unknown '{value}'; use one of {', '.join(choices)}")


@dataclass(frozen=True)
class BootstrapOptions:
    r"""Bootstrap learning (DHPC, D.1, Eqs. 6 and 7); the paper recommends ``beta`` 0.9 at once.

    Attributes:
        beta: Weight of the labels; :math:`1 - \beta` is that of the model's own belief.
        t_gate: Optimiser step from which ``beta`` holds; before it, 1 does. Below 1 it is a share
            of all optimiser steps, rounded up.
        form: What the belief adds: ``paper`` :math:`-q \log q`, as printed; ``symmetric`` the
            binary entropy, which adds :math:`-(1 - q) \log(1 - q)`; ``hard`` BCE against
            :math:`[q > 1/2]` (Reed et al., 2014).
        detach: Take the belief as a constant target. Then ``symmetric`` has no gradient at all.
        over: All N labels, as Eq. 8 prints it, or only the positives and the ``sampled`` negatives,
            these with the weight of their negative term.
    """

    beta: float = 1.0
    t_gate: int | float = 0
    form: BootstrapForm = "paper"
    detach: bool = False
    over: Literal["all", "sampled"] = "all"

    def __post_init__(self) -> None:
        if not 0 < self.beta <= 1:
            raise ValueError(
                f"loss.bootstrap.beta must lie in (0, 1], got {self.beta}; the paper uses 0.9"
            )
        if self.t_gate < 0 or (self.t_gate > 1 and self.t_gate != int(self.t_gate)):
            raise ValueError(
                "loss.bootstrap.t_gate is an optimiser step of at least 0, or below 1 a share of "
                f"all steps, got {self.t_gate}"
            )
        _choice("bootstrap.form", self.form, ("paper", "symmetric", "hard"))
        _choice("bootstrap.over", self.over, ("all", "sampled"))

    def beta_hat(self, step: int, total_steps: int | None = None) -> float:
        """Weight of the labels at an optimiser step (Eq. 7).

        Args:
            step: Optimiser steps that were made.
            total_steps: Those of the whole run; needed where the gate is a share of them.

        Raises:
            ValueError: If they are needed and not given.
        """
        gate = self.t_gate
        if 0 < gate < 1:
            if total_steps is None:
                raise ValueError(
                    f"loss.bootstrap.t_gate {gate} is a share of all steps; set_total_steps first"
                )
            gate = math.ceil(gate * total_steps)
        return 1.0 if step < gate else self.beta


@dataclass(frozen=True)
class NegativeOptions:
    r"""Negative sampling (DHPC, D.2, Eq. 8).

    Attributes:
        keep: Share :math:`\sigma` of the unlabelled classes that count as negatives; 1 turns
            sampling off.
        sampler: ``uniform`` draws exactly :math:`\mathrm{round}(\sigma N_{neg})` per document,
            without replacement; the others decide on each label by itself: ``bernoulli`` with
            probability :math:`\sigma`, ``frequency`` by how often a label occurs, ``confusion`` by
            how far the model mistakes a sibling for it, ``semantic`` by how near its name is to
            those of the document's labels.
        scale: Weight of a drawn negative: ``paper`` :math:`N_{neg} / (\sigma N)`, as printed;
            ``unbiased`` one over its probability of being drawn; ``none`` 1. Only ``none`` lowers
            the share of the negatives in the loss, which the paper gives as the reason for
            sampling; under the other two their expected weight stays what it was.
        per: Draw for every ``example``, or once for the ``batch``, which lets the head compute only
            the drawn columns but varies more from step to step.
    """

    keep: float = 1.0
    sampler: Sampler = "uniform"
    scale: Literal["paper", "unbiased", "none"] = "paper"
    per: Literal["example", "batch"] = "example"

    def __post_init__(self) -> None:
        if not 0 < self.keep <= 1:
            raise ValueError(
                f"loss.negatives.keep must lie in (0, 1], got {self.keep}; 1 turns sampling off"
            )
        samplers = ("uniform", "bernoulli", "frequency", "confusion", "semantic")
        _choice("negatives.sampler", self.sampler, samplers)
        _choice("negatives.scale", self.scale, ("paper", "unbiased", "none"))
        _choice("negatives.per", self.per, ("example", "batch"))


@dataclass(frozen=True)
class TemperatureOptions:
    r"""Soft labels by temperature (DHPC, D.3, Eq. 10): :math:`q = \sigma(z / \epsilon)` everywhere.

    In training only: a temperature below 1 sharpens q, so that the learned logits, read at 1, are
    smoother.

    Attributes:
        train: :math:`\epsilon`, or its first value.
        schedule: ``constant``, or ``linear`` from ``train`` to ``end`` over ``steps``.
        end: Last value of the linear schedule.
        steps: Optimiser steps that the linear schedule takes.
    """

    train: float = 1.0
    schedule: Literal["constant", "linear"] = "constant"
    end: float | None = None
    steps: int = 0

    def __post_init__(self) -> None:
        _choice("temperature.schedule", self.schedule, ("constant", "linear"))
        if self.train <= 0 or (self.end is not None and self.end <= 0):
            raise ValueError(
                f"loss.temperature must be positive, got train {self.train} and end {self.end}"
            )
        if self.schedule == "linear" and (self.end is None or self.steps < 1):
            raise ValueError(
                "loss.temperature.schedule: linear needs 'end' and at least 1 for 'steps', "
                f"got {self.end} and {self.steps}"
            )
        if self.schedule == "constant" and (self.end is not None or self.steps):
            raise ValueError(
                "loss.temperature: 'end' and 'steps' belong to schedule: linear; leave them out"
            )

    def at(self, step: int) -> float:
        r""":math:`\epsilon` at an optimiser step."""
        if self.end is None:
            return self.train
        return self.train + (self.end - self.train) * min(1.0, step / self.steps)


@dataclass(frozen=True)
class DHPCOptions:
    r"""DHPC's loss (D.1 to D.3).

    Attributes:
        bootstrap: Trust in the model's own belief.
        negatives: Which unlabelled classes count as negatives.
        temperature: Sharpness of the model's belief.
        label_smoothing: :math:`\epsilon` of Eq. 9 with u(k) = 1/N: positives become
            :math:`1 - \epsilon + \epsilon / N`, negatives :math:`\epsilon / N`. The paper shows it
            and uses the temperature instead.
        class_reduction: Sum over labels, as printed, or mean.
    """

    bootstrap: BootstrapOptions = BootstrapOptions()
    negatives: NegativeOptions = NegativeOptions()
    temperature: TemperatureOptions = TemperatureOptions()
    label_smoothing: float = 0.0
    class_reduction: Literal["sum", "mean"] = "sum"

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(
                f"loss.label_smoothing must lie in [0, 1), got {self.label_smoothing}; "
                "0 turns it off"
            )
        _choice("class_reduction", self.class_reduction, ("sum", "mean"))
