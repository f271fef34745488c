"""The numeric tests as other processors run them: with other instruction sets, one thread and two.

Sums come in another order there, so that a result may differ in its last digits.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
QUICK = ["losses", "pretraining/test_node_baselines.py"]
ALL = ["backbones", "calibration", "classification", "embeddings", "finetuning", "golden"]
ALL += ["losses", "metrics", "nn", "pretraining", "test_hierarchy.py", "test_hierarchy_parquet.py"]
# PyTorch's own loops, then its libraries of matrix products, then NumPy's.
WITHOUT_AVX = {
    "ATEN_CPU_CAPABILITY": "default",
    "MKL_CBWR": "COMPATIBLE",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "OPENBLAS_CORETYPE": "Nehalem",
}
AVX2 = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_CBWR": "AVX2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "OPENBLAS_CORETYPE": "Haswell",
}
SLOW = [pytest.mark.slow, pytest.mark.timeout(3600)]


@pytest.mark.parametrize(
    ("instructions", "threads", "tests", "at_least"),
    [
        pytest.param(AVX2, 1, QUICK, 500, id="AVX2 alone, quick"),
        pytest.param(WITHOUT_AVX, 1, ALL, 1900, id="without AVX", marks=SLOW),
        pytest.param(WITHOUT_AVX, 2, ALL, 1900, id="without AVX, two threads", marks=SLOW),
        pytest.param(AVX2, 1, ALL, 1900, id="AVX2 alone", marks=SLOW),
        pytest.param(AVX2, 2, ALL, 1900, id="AVX2 alone, two threads", marks=SLOW),
    ],
)
def test_numeric_tests_pass(instructions, threads, tests, at_least, tmp_path):
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    counts = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    files = [str(ROOT / "tests" / name) for name in tests]
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", f"--basetemp={tmp_path / 'in'}"]
    found = subprocess.run(
        [*argv, *files],
        cwd=ROOT,
        env={**own, **instructions, **counts},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert found.returncode == 0, found.stdout
    passed = re.search(r"(\d+) passed", found.stdout)
    assert passed is not None, found.stdout
    assert int(passed[1]) >= at_least
