import subprocess
import sys
from pathlib import Path

import pytest

from data_modules.sample import cache, default_sample, default_sample_path
from data_modules.sample.options import SampleOptions
from hierarchy_lm.dataset import read_dataset
from hierarchy_lm.errors import UserError


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"HLM_CACHE": "/a/b", "XDG_CACHE_HOME": "/c"}, "/a/b"),
        ({"XDG_CACHE_HOME": "/c"}, "/c/hierarchy-lm"),
        ({"HOME": "/home/me"}, "/home/me/.cache/hierarchy-lm"),
    ],
)
def test_cache_folder_follows_the_environment(monkeypatch, environment, expected):
    for name in ("HLM_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert default_sample_path().parent == Path(expected)


def test_folder_name_changes_with_the_generator(monkeypatch):
    before = default_sample_path()
    monkeypatch.setattr(cache, "GENERATOR_VERSION", cache.GENERATOR_VERSION + 1)
    assert default_sample_path() != before


def test_two_processes_that_ask_at_once_share_one_sample(monkeypatch, tmp_path):
    monkeypatch.setenv("HLM_CACHE", str(tmp_path))
    code = "from data_modules.sample import default_sample; print(default_sample())"
    started = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    answers = [process.communicate(timeout=120)[0].strip() for process in started]
    assert [process.returncode for process in started] == [0, 0]
    assert answers == [str(default_sample_path())] * 2
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [default_sample_path().name, f"{default_sample_path().name}.lock"]
    stamp = (default_sample_path() / "dataset.json").stat().st_mtime_ns
    assert default_sample() == default_sample_path()
    assert (default_sample_path() / "dataset.json").stat().st_mtime_ns == stamp
    counts = read_dataset(default_sample_path()).counts
    rows = sum(counts[split] for split in ("train", "validation", "test"))
    assert rows == SampleOptions().items


def test_cache_that_cannot_be_written_names_the_way_out(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HLM_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match="HLM_CACHE"):
        default_sample()
