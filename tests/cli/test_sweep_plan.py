"""Seeds, numbers of runs, baselines and identities, before anything runs."""

import pytest
from rich.console import Console

from hierarchy_lm.cli.sweep_cells import CellRun, cell_argv, deciding_arguments
from hierarchy_lm.cli.sweep_plan import Checker, expand
from hierarchy_lm.errors import UserError
from hierarchy_lm.sweeps import plan_cells, read_sweep

from .conftest import EXPERIMENTS
from .sweeping import DEPARTMENT, write_sweep

BETA = "model.loss.bootstrap.beta"


@pytest.fixture
def checker(tmp_path):
    def build(parameters, *extra, **keys):
        file = write_sweep(tmp_path / "plan.yaml", parameters, **keys)
        return Checker(read_sweep(file), file, list(extra))

    return build


def test_given_seeds_replace_those_of_the_file_and_these_the_experiments_own(checker):
    both = {BETA: {"values": [0.9, 0.7]}, "seed_everything": {"values": [3, 4]}}
    settings = [{BETA: 0.9}, {BETA: 0.7}]
    assert expand(checker(both), ["0", "1"], None, 0) == (settings, [0, 1])
    assert expand(checker(both), [], None, 0) == (settings, [3, 4])
    own = checker({BETA: both[BETA]}, "--seed_everything=11")
    assert expand(own, [], None, 0) == (settings, [11])
    only_seeds = checker({"seed_everything": {"min": 0, "max": 2}})
    assert expand(only_seeds, [], None, 0) == ([{}], [0, 1, 2])


def test_drawn_seeds_are_refused(checker):
    drawn = {"seed_everything": {"min": 0.0, "max": 9.0}}
    with pytest.raises(UserError, match="seeds are a list of values"):
        expand(checker(drawn, method="random", run_cap=2), [], None, 0)


def test_the_number_of_runs_counts_all_seeds(checker):
    random = {BETA: {"min": 0.1, "max": 0.9}, "seed_everything": {"values": [0, 1]}}
    plan = checker(random, method="random", run_cap=7)
    choices, seeds = expand(plan, [], None, 0)
    assert (len(choices), seeds) == (3, [0, 1])  # 6 runs; 8 would be too many
    assert len(expand(plan, [], 10, 0)[0]) == 5
    assert len(expand(plan, ["5"], None, 0)[0]) == 7


def test_a_command_that_is_not_complete_has_no_baseline(checker, shop):
    data = f"--data.dataset={shop}"
    swept = {"config": {"values": [str(DEPARTMENT), str(EXPERIMENTS / "leaf.yaml")]}}
    plan = checker(swept, data, command=["hlm", "fit", "${args}"])
    console = Console(quiet=True)
    plan.check(expand(plan, ["0"], None, 0)[0], True, console)
    assert not plan.baseline
    plan = checker({BETA: {"values": [0.7]}}, data)
    plan.check(expand(plan, ["0"], None, 0)[0], True, console)
    assert plan.baseline
    plan.baseline = False
    plan.check(expand(plan, ["0"], None, 0)[0], False, console)
    assert not plan.baseline


def test_places_make_no_other_run_and_a_file_stands_for_what_it_says(tmp_path):
    file, same = tmp_path / "a.yaml", tmp_path / "b.yml"
    file.write_text("trainer: {max_epochs: 3, default_root_dir: here}\n")
    same.write_text("# a comment\ntrainer:\n  max_epochs: 3\n  devices: 1\n")
    places = ["--data.dataset", "d", "--trainer.accelerator=cpu", "--encoders=e"]
    first = deciding_arguments(["fit", "--config", str(file), *places, "--x=1"])
    assert first == deciding_arguments(["fit", f"--config={same}", "--x", "1"])
    assert first != deciding_arguments(["fit", f"--config={same}", "--x", "2"])
    same.write_text("trainer: {max_epochs: 4}\n")
    assert first != deciding_arguments(["fit", f"--config={same}", "--x", "1"])


def test_another_dataset_is_refused(checker, tmp_path):
    (cell,) = plan_cells([{BETA: 0.7}], [0], baseline=False)
    argv = cell_argv(checker({BETA: {"values": [0.7]}}).sweep, cell.values, cell.seed, [])
    assert argv[-2:] == [f"--{BETA}=0.7", "--seed_everything=0"]
    run = CellRun(cell, tmp_path / cell.folder, argv, "fingerprint")
    run.check()
    run.record("finished")
    run.check()
    with pytest.raises(UserError, match="was run on another dataset; name another --output"):
        CellRun(cell, tmp_path / cell.folder, argv, "another").check()
