"""Generator of a realistic two-locale catalogue with known noise (docs/sample.md)."""

from data_modules.sample.cache import default_sample, default_sample_path
from data_modules.sample.command import sample
from data_modules.sample.options import SampleOptions
from data_modules.sample.writer import write_sample

__all__ = ["SampleOptions", "default_sample", "default_sample_path", "sample", "write_sample"]
