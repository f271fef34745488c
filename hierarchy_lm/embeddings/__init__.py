"""Embeddings of whole datasets, and what they know of the tree."""

from hierarchy_lm.embeddings.embedder import Embedder

__all__ = ["Embedder"]
