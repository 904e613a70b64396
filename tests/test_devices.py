"""Device profiles: complete, plausible, and in the order of the boards they stand for."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from edgenet.devices import PROFILES, Device, device

REQUIRED = {
    "host", "workstation", "edge-server", "laptop", "pi1", "pi2", "pi3", "pi4", "pi5",
    "pi-zero2w", "jetson-nano", "jetson-orin-nano", "rtx2070s",
}  # fmt: skip


def test_every_promised_device_is_there() -> None:
    assert set(PROFILES) >= REQUIRED
    assert all(name == profile.name for name, profile in PROFILES.items())


def test_the_host_is_not_slowed_down() -> None:
    assert device("host").training_flops is None
    assert device("host").active_w_per_core is None


@pytest.mark.parametrize("name", sorted(REQUIRED - {"host"}))
def test_numbers_are_plausible_and_have_a_source(name: str) -> None:
    profile = device(name)
    assert profile.training_flops is not None
    assert profile.matrix_flops is not None
    assert profile.memory_bytes is not None
    assert 0.02 < profile.training_flops / profile.matrix_flops < 1
    assert "training_flops" in profile.derived
    assert 5e7 < profile.training_flops < 1e12
    assert profile.memory_bytes >= 512 * 2**20
    assert profile.idle_w is not None
    assert profile.load_w is not None
    assert 0 < profile.idle_w < profile.load_w
    assert profile.active_w_per_core is not None
    assert profile.active_w_per_core > 0
    assert len(profile.source) > 20


def test_the_two_rates_do_not_go_together() -> None:
    """Else a benchmark of matrix products would predict training without an error."""
    boards = [PROFILES[name] for name in ("pi2", "pi3", "pi4", "jetson-nano", "rtx2070s")]
    ratios = [(board.training_flops or 0) / (board.matrix_flops or 1) for board in boards]
    assert max(ratios) > 1.5 * sorted(ratios)[1]


def test_what_the_source_calls_scaled_or_estimated_is_marked() -> None:
    for profile in PROFILES.values():
        if "idle power is an estimate" in profile.source:
            assert "idle_w" in profile.derived, profile.name
        if "matrix: the" in profile.source:
            assert "matrix_flops" in profile.derived, profile.name


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"training_flops": 0.0}, "training_flops 0.0; it must be above 0"),
        ({"cores": -1}, "cores -1"),
        ({"matrix_flops": float("nan")}, "matrix_flops nan"),
        ({"idle_w": 9.0, "load_w": 3.0}, "draws 9.0 W idle and only 3.0 W busy"),
        ({"derived": ("cores",)}, "calls cores derived"),
    ],
)
def test_an_impossible_profile_is_refused(change: dict[str, Any], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        dataclasses.replace(PROFILES["pi4"], **change)
    assert isinstance(PROFILES["pi4"], Device)


def test_boards_are_ordered_by_their_generation() -> None:
    speeds = [device(name).training_flops or 0 for name in ("pi1", "pi2", "pi3", "pi4", "pi5")]
    assert speeds == sorted(speeds)
    assert speeds[0] * 50 < speeds[-1]


def test_profiles_are_values() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        device("pi4").cores = 5  # type: ignore[misc]


def test_an_unknown_device_is_answered_with_the_names() -> None:
    with pytest.raises(ValueError, match=r"'pi44' is no device; did you mean 'pi4'\? devices are"):
        device("pi44")
