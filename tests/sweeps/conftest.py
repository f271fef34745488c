import pytest
import yaml

from hierarchy_lm.sweeps import read_sweep

COMMAND = ["hlm", "fit", "--config", "experiments/sst.yaml", "${args}"]


@pytest.fixture
def sweep_file(tmp_path):
    """Writes a sweep file: the changes on top of a small grid; None takes a key away."""

    def write(**changes):
        content = {
            "method": "grid",
            "parameters": {"model.optimizer.lr": {"values": [0.1, 0.01]}},
            "command": COMMAND,
            **changes,
        }
        path = tmp_path / "small.yaml"
        kept = {key: value for key, value in content.items() if value is not None}
        path.write_text(yaml.safe_dump(kept, sort_keys=False))
        return path

    return write


@pytest.fixture
def sweep(sweep_file):
    return lambda **changes: read_sweep(sweep_file(**changes))
