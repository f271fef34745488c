"""A cascade on the validation split, for the commands that need its answers."""

from pathlib import Path

from hierarchy_lm.cli.workers import INTERRUPTED
from hierarchy_lm.errors import UserError


def evaluate_cascade(cascade: Path, dataset: str, arguments: list[str]) -> None:
    """Run ``hlm validate`` on a cascade folder; the answers are kept in it.

    Raises:
        UserError: If it cannot be run.
    """
    from hierarchy_lm.cli.training import run_trainer

    status = run_trainer(
        [
            "validate",
            "--model=Cascade",
            f"--model.cascade={cascade}",
            "--data=CascadeDataModule",
            f"--data.dataset={dataset}",
            f"--trainer.default_root_dir={cascade / 'runs'}",
            "--trainer.enable_model_summary=false",
            # More would run this very command once per device.
            "--trainer.devices=1",
            *arguments,
        ]
    )
    if status in INTERRUPTED:
        raise SystemExit(status)
    if status:
        raise UserError(f"the cascade was not evaluated (status {status})")
