"""Callbacks for `hlm`: one counts tokens by their ids, one stops the run as Ctrl-C does."""

from lightning.pytorch import Callback


class CountTokens(Callback):
    count = 0

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        tokens = batch.tokens
        CountTokens.count += sum(
            sum(1 for kept in row if kept) for row in tokens.attention_mask.tolist()
        )


class Interrupt(Callback):
    def __init__(self, epoch: int, batch: int) -> None:
        self.at = (epoch, batch)

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if (trainer.current_epoch, batch_idx) == self.at:
            raise KeyboardInterrupt
