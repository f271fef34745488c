import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import lightning.pytorch  # noqa: F401  (its log goes to the stderr of this moment, not a test's)
import pytest
import torch

from data_modules.sample import SampleOptions, write_sample
from hierarchy_lm.cli import main

ROOT = Path(__file__).parents[2]
EXPERIMENTS = ROOT / "experiments"
HLM = Path(sys.executable).with_name("hlm")

# A few steps of a tiny encoder: what a test adds to a shipped experiment.
TINY = [
    "--model.backbone.name=tiny",
    "--trainer.max_epochs=1",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
]

Hlm = Callable[..., tuple[int, str, str]]


def assert_refused(result, *words):
    """The command ended with one line that says these words."""
    status, _, err = result
    assert status == 2, err
    message = err.strip().splitlines()[-1]
    assert message.startswith("hlm: ")
    assert "Traceback" not in err
    for word in words:
        assert word in message, message


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """The generated sample of this session, away from the user's own."""
    folder = tmp_path_factory.mktemp("cache")
    os.environ["HLM_CACHE"] = str(folder)
    return folder


@pytest.fixture(scope="session")
def catalogue(tmp_path_factory) -> Path:
    """A small dataset folder with all tasks."""
    folder = tmp_path_factory.mktemp("datasets") / "catalogue"
    write_sample(folder, SampleOptions(items=600, nodes=60, depth=4, seed=3))
    return folder


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def hlm(capfd) -> Hlm:
    """Run the command in this process: status, stdout, stderr."""

    def run(*args: str) -> tuple[int, str, str]:
        capfd.readouterr()
        try:
            status = main([str(arg) for arg in args])
        except SystemExit as error:
            status = int(error.code or 0)
        out, err = capfd.readouterr()
        return status, out, err

    return run


def hlm_process(*args: object, **env: str) -> "subprocess.Popen[str]":
    """Start the installed command in a session of its own, one thread."""
    return subprocess.Popen(
        [str(HLM), *map(str, args)],
        env={**os.environ, "OMP_NUM_THREADS": "1", **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        # A background job of a shell ignores Ctrl-C, and so would what it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
