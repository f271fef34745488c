"""Files beside the code that must agree with it: versions, container, Makefile, links."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import hierarchy_lm

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REQUIREMENTS = [
    *PROJECT["dependencies"],
    *(line for extra in PROJECT["optional-dependencies"].values() for line in extra),
]
TARGETS = [
    *("help", "setup", "demo", "ablation-%", "tables"),
    *("test", "test-slow", "lint", "type", "bench", "docker"),
]
GRIDS = {f"ablation-{file.stem}" for file in (ROOT / "experiments/ablations").glob("*.yaml")}
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def pinned_versions() -> dict[str, Version]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line.split("==") for line in lines if not line.startswith("#")]
    return {canonicalize_name(name): Version(version) for name, version in pins}


def copied_sources() -> list[str]:
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    words = [line.split()[1:-1] for line in lines if line.startswith("COPY ")]
    return [word for line in words for word in line if not word.startswith("--")]


def test_version_is_the_same_in_the_package_and_its_metadata():
    assert hierarchy_lm.__version__ == PROJECT["version"]


@pytest.mark.parametrize("line", REQUIREMENTS)
def test_constraint_lies_in_the_range_of_the_requirement(line):
    requirement = Requirement(line)
    assert pinned_versions()[canonicalize_name(requirement.name)] in requirement.specifier


def test_constraints_hold_on_every_kind_of_machine():
    """A local version such as 2.13.0+cpu would shut out the CUDA build."""
    assert all(version.local is None for version in pinned_versions().values())


@pytest.mark.parametrize("source", copied_sources())
def test_container_copies_what_exists_and_is_sent_to_the_build(source):
    assert (ROOT / source).exists()
    assert f"!{source}" in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()


def test_container_copies_the_packages_and_the_experiments():
    assert {"hierarchy_lm", "data_modules", "experiments"} <= set(copied_sources())


def test_help_lists_every_target():
    listed = subprocess.run(
        ["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert re.findall(r"^make (\S+) +\S", listed.stdout, re.MULTILINE) == TARGETS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_make_targets_named_in_a_page_exist(page):
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", text)
    assert [link for link in links if not (page.parent / link).exists()] == []
    named = set(re.findall(r"`make ((?:[a-z-]+ ?)+)`", text))
    assert {target for names in named for target in names.split()} <= {*TARGETS, *GRIDS}
