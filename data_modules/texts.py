"""Texts of products, for pre-training that needs no labels."""

from data_modules.products import ProductDataModule


class TextDataModule(ProductDataModule):
    """All products of a dataset folder, those without a node included.

    The token cache is the one of ``ProductDataModule``, so a later stage on the same dataset does
    not tokenise again.
    """

    labelled_only = False
