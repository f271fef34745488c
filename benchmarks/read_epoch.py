"""``python read_epoch.py DATASET TOKENIZER``: build the token caches and read one epoch."""

import sys

from data_modules.products import ProductDataModule


def main(dataset: str, tokenizer: str) -> None:
    data = ProductDataModule(dataset, tokenizer)
    for stage in ("fit", "test"):
        data.setup(stage)
    for _ in data.train_dataloader():
        pass


if __name__ == "__main__":  # processes that tokenise import this module too
    main(*sys.argv[1:])
