"""Device profiles: complete, plausible, and in the order of the boards they stand for."""

from __future__ import annotations

import dataclasses

import pytest

from edgenet.devices import PROFILES, TRAINING_SHARE, device

REQUIRED = {
    "host", "workstation", "edge-server", "laptop", "pi1", "pi2", "pi3", "pi4", "pi5",
    "pi-zero2w", "jetson-nano", "jetson-orin-nano",
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
    assert profile.training_flops == pytest.approx(TRAINING_SHARE * profile.matrix_flops)
    assert 5e7 < profile.training_flops < 1e12
    assert profile.memory_bytes >= 512 * 2**20
    assert profile.idle_w is not None
    assert profile.load_w is not None
    assert 0 < profile.idle_w < profile.load_w
    assert profile.active_w_per_core is not None
    assert profile.active_w_per_core > 0
    assert len(profile.source) > 20


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
