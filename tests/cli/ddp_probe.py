"""A callback for `hlm` subprocesses: what each rank saw and the first gradient."""

from pathlib import Path

import torch
from lightning.pytorch import Callback

from hierarchy_lm.nn.norm import SyncedBatchNorm


class Probe(Callback):
    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self.rows: list[int] = []
        self.gradients = None

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        pl_module.eval()  # no dropout: its masks differ between one rank and two
        pl_module.training = True  # what a method draws in training it still draws
        for module in pl_module.modules():
            if isinstance(module, SyncedBatchNorm):
                module.train()
        if batch.loss_scale > 0:
            self.rows += batch.rows.tolist()

    def on_after_backward(self, trainer, pl_module):
        if self.gradients is None:
            self.gradients = {
                name: parameter.grad.clone()
                for name, parameter in pl_module.named_parameters()
                if parameter.grad is not None
            }

    def on_train_end(self, trainer, pl_module):
        self.folder.mkdir(parents=True, exist_ok=True)
        state = {"rows": self.rows, "gradients": self.gradients}
        torch.save(state, self.folder / f"rank-{trainer.global_rank}.pt")
