"""`edgenet bench`, what it measures, and profiles in files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgenet.cli.main import main
from edgenet.devices import PROFILES, read_profile, write_profile
from edgenet.models.benchmarks import (
    Workload,
    by_operations,
    by_reference,
    matrix_rate,
)


def test_a_shard_costs_what_the_layers_say() -> None:
    """784-50-20-10: a product and its two gradients, but none towards the data."""
    forward = 2 * (784 * 50 + 50 * 20 + 20 * 10)
    at_least, at_most = 500 * 2.9 * forward, 500 * 3.4 * forward
    assert at_least < Workload().shard_flop < at_most


def test_both_predictions_of_the_baseline_by_hand() -> None:
    assert by_reference(2.0, 100e9, 25e9) == pytest.approx(8.0)
    assert by_operations(5e9, 25e9) == pytest.approx(0.2)


def test_a_slower_device_is_measured_as_slower() -> None:
    assert matrix_rate(40.0) < 0.1 * matrix_rate()


def test_the_command_measures_both(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--kind", "flops", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["flops"] > 1e7
    sb = ["bench", "--kind", "sb", "--model", "twonn", "--shards", "1", "--shard", "64"]
    assert main([*sb, "--device", "pi2", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["model"] == "two-nn-small"
    assert found["slowdown"] > 1
    assert found["samples_per_s"] == pytest.approx(64 * found["shards_per_s"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model", "vgg"], "unknown model 'vgg'; models are twonn"),
        (["--device", "pi44"], "did you mean 'pi4'?"),
        (["--shards", "0"], "--shards is 0; it must be at least 1"),
        (["--device", "rtx2070s"], "this machine is slower"),
    ],
)
def test_bad_arguments_are_answered(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_a_profile_survives_its_file(tmp_path: Path) -> None:
    for profile in PROFILES.values():
        write_profile(tmp_path / "x.yaml", profile)
        assert read_profile(tmp_path / "x.yaml") == profile


def test_the_command_writes_a_profile(tmp_path: Path) -> None:
    path = tmp_path / "board.yaml"
    assert main(["bench", "--shards", "1", "--shard", "64", "--save-profile", str(path)]) == 0
    profile = read_profile(path)
    assert profile.name == "board"
    assert (profile.training_flops or 0) > 1e6
    assert profile.derived == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1]", "holds no device profile"),
        ("name: a\nspeed: 3", "a device has no 'speed'"),
        ("name: a\ncores: many", "cores is 'many'; it must be a number"),
        ("cores: 4", "a device needs a name"),
        ("name: a\ncores: 0", "it must be above 0"),
        ("{", "cannot be read"),
    ],
)
def test_a_damaged_profile_is_refused(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(ValueError, match=said):
        read_profile(tmp_path / "x.yaml")
