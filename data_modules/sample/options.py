"""The options of the generated catalogue."""

from dataclasses import asdict, dataclass
from typing import Literal, get_args

from hierarchy_lm.errors import UserError

NoisePreset = Literal["clean", "L1", "L2"]

NOISY_SHARE: dict[NoisePreset, float] = {"clean": 0.0, "L1": 0.5, "L2": 1.0}
TEXT_KINDS = ("misleading_text", "soft_adversarial", "hard_adversarial")
LABEL_KINDS = ("wrong_labels", "missing_labels")
NOISE_KINDS = (*TEXT_KINDS, "missing_fields", *LABEL_KINDS)


@dataclass(frozen=True)
class SampleOptions:
    """What `hlm sample` generates; :func:`data_modules.sample.sample` explains each option.

    Raises:
        UserError: If an option makes no sense.
    """

    items: int = 12_000
    nodes: int = 400
    depth: int = 6
    seed: int = 0
    task_items: int = 4_000
    noise: NoisePreset = "L1"
    missing_fields: float = 0.4
    misleading_text: float = 0.3
    soft_adversarial: float = 0.2
    hard_adversarial: float = 0.08
    wrong_labels: float = 0.12
    missing_labels: float = 0.1

    def __post_init__(self) -> None:
        self._check_sizes()
        if self.noise not in get_args(NoisePreset):
            raise UserError(f"noise: '{self.noise}' is none of clean, L1, L2")
        for kind, rate in self.rates.items():
            if not 0.0 <= rate <= 1.0:
                raise UserError(f"{kind}: {rate} is no share; give a number from 0 to 1")
        for kinds in (TEXT_KINDS, LABEL_KINDS):
            if sum(self.rates[kind] for kind in kinds) > 1.0 + 1e-9:
                raise UserError(
                    f"{', '.join(kinds)}: exclude each other, so that their sum may not exceed 1"
                )

    def _check_sizes(self) -> None:
        for name, least in (("items", 1), ("nodes", 1), ("depth", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise UserError(f"{name}: {getattr(self, name)} is too small; give {least} or more")
        if self.task_items < 0:
            raise UserError(f"task_items: {self.task_items} is negative; 0 leaves the tasks out")
        if self.nodes < self.depth:
            raise UserError(
                f"nodes: {self.nodes} nodes cannot be {self.depth} levels deep; "
                "ask for more nodes or less depth"
            )

    @property
    def noisy_share(self) -> float:
        """Share of the items that are noisy."""
        return NOISY_SHARE[self.noise]

    @property
    def rates(self) -> dict[str, float]:
        """Share of the noisy items that each kind of noise touches, in ``NOISE_KINDS``' order."""
        values = asdict(self)
        return {kind: values[kind] for kind in NOISE_KINDS}
