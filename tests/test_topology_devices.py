"""Profiles of the user's own in a topology: from a file or written out; mistakes have a place."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from edgenet.cli.main import main
from edgenet.devices import PROFILES, write_profile
from edgenet.errors import TopologyError
from edgenet.node.plan import resolve
from edgenet.topology import dump, load
from edgenet.topology.load import loads

MINE = dataclasses.replace(PROFILES["pi4"], name="whatever", training_flops=9e9, derived=())

TEXT = """\
devices:
  my-pi: {value}
nodes:
  server: {{device: host}}
  learner: {{device: my-pi, count: 2}}
links: {{wire: {{base: server, members: learner}}}}
train: {{scheme: fedavg, rounds: 1}}
"""


def test_a_file_becomes_a_device_and_the_resolved_topology_holds_it(tmp_path: Path) -> None:
    write_profile(tmp_path / "board.yaml", MINE)
    path = tmp_path / "t.yaml"
    path.write_text(TEXT.format(value="./board.yaml"))
    spec = load(path)
    assert spec.device("learner1") == dataclasses.replace(MINE, name="my-pi")
    assert spec.device("server") == PROFILES["host"]
    (tmp_path / "board.yaml").unlink()
    assert loads(dump(spec)) == spec
    assert resolve(loads(dump(spec))).topology.device("learner0").training_flops == 9e9


def test_fields_may_be_written_out_and_set() -> None:
    text = TEXT.format(value="{cores: 2, memory_bytes: 1.0e+9}")
    spec = loads(text, "t.yaml", ["devices.my-pi.training_flops=5e9"])
    mine = spec.device("learner0")
    assert (mine.cores, mine.memory_bytes, mine.training_flops) == (2, 10**9, 5e9)
    assert isinstance(mine.memory_bytes, int)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("nowhere.yaml", r"t.yaml:2: .*no profile for 'my-pi': .*cannot be read"),
        ("{speed: 3}", "t.yaml:2: .*a device has no 'speed'; it has name"),
        ("{cores: many}", "t.yaml:2: .*cores is 'many'; it must be a number"),
        ("{cores: 1.5}", "t.yaml:2: .*cores is 1.5; it must be a whole number"),
        ("{memory_bytes: 0}", "t.yaml:2: .*it must be above 0"),
        ("7", "t.yaml:2: .*must be the path of a file that `edgenet bench"),
    ],
)
def test_a_mistake_is_a_sentence_with_its_place(value: str, said: str) -> None:
    with pytest.raises(TopologyError, match=said):
        loads(TEXT.format(value=value), "t.yaml")


def test_a_name_that_is_taken_is_refused() -> None:
    text = TEXT.format(value="{}").replace("my-pi", "pi4")
    with pytest.raises(TopologyError, match="gives 'pi4', a device that there is already"):
        loads(text, "t.yaml")


def test_an_unknown_device_may_be_one_of_the_files_own() -> None:
    text = TEXT.format(value="{}").replace("device: my-pi", "device: my-py")
    with pytest.raises(TopologyError, match="unknown device 'my-py'; did you mean 'my-pi'"):
        loads(text, "t.yaml")


def test_the_command_shows_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_profile(tmp_path / "board.yaml", MINE)
    assert main(["devices", str(tmp_path / "board.yaml"), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["whatever"]["training_flops"] == 9e9
    assert main(["devices", str(tmp_path / "none.yaml")]) == 2
    assert "none.yaml cannot be read as a device profile" in capsys.readouterr().err
