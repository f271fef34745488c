"""Turns a real catalogue into a dataset folder (docs/prepare.md)."""
