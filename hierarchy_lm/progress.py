"""The progress bar of a run."""

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar

SHOWN = {"train/loss": "{:.4f}", "train/lr": "{:.2e}", "train/tokens_per_second": "{:,.0f}"}


class ProgressBar(RichProgressBar):
    """Rich's bar with the time left, the loss, the learning rate and tokens per second."""

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> Any:  # noqa: ANN401
        """The numbers beside the bar, each in a form that suits it."""
        metrics = super().get_metrics(trainer, pl_module)
        return {
            name.removeprefix("train/").replace("tokens_per_second", "tokens/s"): form.format(
                float(metrics[name])  # type: ignore[arg-type]
            )
            for name, form in SHOWN.items()
            if name in metrics
        }
