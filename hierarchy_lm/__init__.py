"""Hierarchy-aware language models and classifiers for product catalogues."""

__version__ = "0.1.0"
