"""The built wheel holds both packages whole, so that an installed `hlm` finds what it needs."""

import shutil
import subprocess
import sys
import zipfile
from configparser import ConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("hierarchy_lm", "data_modules")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Build from a copy, so that the checkout stays clean."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for package in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, source / package, ignore=ignored)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", str(source)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = (source / "dist").glob("*.whl")
    with zipfile.ZipFile(file) as archive:
        yield archive


def metadata_file(wheel: zipfile.ZipFile, name: str) -> str:
    (member,) = [member for member in wheel.namelist() if member.endswith(f".dist-info/{name}")]
    return wheel.read(member).decode()


def test_top_level_holds_the_two_packages_and_nothing_else(wheel):
    tops = {member.split("/")[0] for member in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)
    assert set(metadata_file(wheel, "top_level.txt").split()) == set(PACKAGES)


def test_every_module_of_the_sources_is_inside(wheel):
    sources = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
    }
    assert {member for member in wheel.namelist() if member.endswith(".py")} == sources


@pytest.mark.parametrize(
    "file",
    [
        "hierarchy_lm/py.typed",
        "data_modules/py.typed",
        "hierarchy_lm/defaults.yaml",
        *(f"hierarchy_lm/reports/templates/page.{kind}" for kind in ("html", "css", "js")),
        "hierarchy_lm/reports/templates/charts.css",
        "hierarchy_lm/reports/tables/bootstrap.yaml",
    ],
)
def test_data_file_is_inside(wheel, file):
    assert wheel.read(file) == (ROOT / file).read_bytes()


def test_command_hlm_is_declared(wheel):
    scripts = ConfigParser()
    scripts.read_string(metadata_file(wheel, "entry_points.txt"))
    assert dict(scripts["console_scripts"]) == {"hlm": "hierarchy_lm.cli:main"}
