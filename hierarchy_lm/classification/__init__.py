"""DHPC: department and leaf classifiers, and the cascade of both."""

from hierarchy_lm.classification.cascade import Cascade
from hierarchy_lm.classification.department import DepartmentClassifier
from hierarchy_lm.classification.leaf import LeafClassifier

__all__ = ["Cascade", "DepartmentClassifier", "LeafClassifier"]
