"""Turns a real catalogue into a dataset folder (docs/prepare.md)."""

from data_modules.prepare.run import prepare

__all__ = ["prepare"]
