"""Finding a dataset folder by name."""

from pathlib import Path

from data_modules.sample import default_sample, default_sample_path
from hierarchy_lm.dataset_folder import Dataset, open_dataset
from hierarchy_lm.errors import UserError

SAMPLE = "sample"


def dataset_path(name: str) -> Path:
    """Folder of a dataset: ``sample`` stands for the generated one, anything else is a path."""
    return default_sample_path() if name == SAMPLE else Path(name)


def find_dataset(name: str) -> Dataset:
    """A dataset that exists, looked through; the sample is generated on first use.

    Raises:
        UserError: If there is no such folder, or no whole dataset in it.
    """
    if name == SAMPLE:
        return open_dataset(default_sample())
    folder = Path(name)
    if not folder.is_dir():
        raise UserError(
            f"dataset '{name}': no such folder; make one with `hlm prepare` or `hlm sample`, "
            "or use dataset: sample"
        )
    return open_dataset(folder)
