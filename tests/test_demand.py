"""Whether devices fit a host, and what happens to a node that outgrows its device."""

from __future__ import annotations

import dataclasses
import json
import mmap
from pathlib import Path

import pytest
import yaml
from small_runs import topology

from edgenet.cli.main import main
from edgenet.devices import PROFILES
from edgenet.devices.demand import demand, too_late
from edgenet.errors import Interrupted, NodeError
from edgenet.node import memory
from edgenet.node.memory import MemoryLimit
from edgenet.topology.load import dump

SLOW = dataclasses.replace(PROFILES["pi3"], name="slow", training_flops=1e9)
FAST = dataclasses.replace(PROFILES["pi3"], name="fast", training_flops=30e9)


def test_devices_take_their_part_of_a_core() -> None:
    needed = demand([SLOW, SLOW, PROFILES["host"]], 10e9, host_cores=2)
    assert needed.cores == pytest.approx(0.1 + 0.1 + 1.0)
    assert needed.fits
    assert str(needed) == "while all train, the nodes take 1.2 of 2 cores: they fit"


def test_too_many_are_told_with_the_remedy() -> None:
    needed = demand([PROFILES["host"]] * 2 + [SLOW], 10e9, host_cores=2)
    assert not needed.fits
    assert "too many for this host" in str(needed)
    assert "fewer nodes" in str(needed)


def test_a_device_faster_than_the_host_is_named() -> None:
    needed = demand([FAST, FAST, SLOW], 10e9, host_cores=4)
    assert needed.faster == ("fast",)
    assert needed.cores == pytest.approx(2.1)
    assert "this host is slower than fast" in str(needed)


def test_a_host_that_could_not_keep_up_is_told_of() -> None:
    nodes = {
        "server": {"emulated_s": None, "behind_s": None},
        "quick": {"emulated_s": 10.0, "behind_s": 5.0},
        "slow": {"emulated_s": 100.0, "behind_s": 4.9},
    }
    said = too_late(nodes)
    assert said is not None
    assert "quick (50%)" in said
    assert "slow" not in said.replace("slower", "")
    assert too_late({"slow": nodes["slow"], "server": nodes["server"]}) is None


def test_check_says_whether_they_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree = yaml.safe_load(dump(topology("fedavg", 3)))
    tree["nodes"]["learner"]["device"] = "pi1"
    path = tmp_path / "t.yaml"
    path.write_text(yaml.safe_dump(tree))
    assert main(["check", str(path), "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)["demand"]
    assert found["fits"]
    assert 0 < found["cores"] < 1
    assert main(["check", str(path)]) == 0
    assert "they fit" in capsys.readouterr().out


def test_a_node_that_outgrows_its_device_ends_with_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stopped: list[int] = []
    monkeypatch.setattr(memory, "_handled", lambda number: True)
    monkeypatch.setattr(memory.os, "kill", lambda pid, number: stopped.append(number))
    held = 500 * 2**20
    limit = MemoryLimit("pi1", PROFILES["pi1"], lambda: held)
    limit.check()
    assert limit.broken is None
    held = 600 * 2**20
    said = r"pi1 holds 600 MiB, but its device 'pi1' has 512 MiB; give"
    with pytest.raises(NodeError, match=said):
        interrupted(limit)
    assert len(stopped) == 1


def test_pages_of_files_are_no_growth_of_a_node(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What all nodes share has the libraries' pages in it; a forked node meets them anew."""
    monkeypatch.setattr(memory, "_handled", lambda number: False)
    size = 32 * 2**20
    (tmp_path / "library").write_bytes(bytes(size))
    device = dataclasses.replace(PROFILES["pi1"], memory_bytes=size)
    limit = MemoryLimit("pi1", device, shared_bytes=size // 2)
    with (tmp_path / "library").open("rb") as file:
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as pages:
            assert sum(pages[:: mmap.PAGESIZE]) == 0
            limit.check()
    assert limit.broken is None
    # Fresh from the kernel: what is allocated here may have been freed before, and be resident.
    with mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as kept:
        for page in range(0, size, mmap.PAGESIZE):
            kept[page] = 1
        limit.check()
    assert limit.broken is not None


def test_another_interruption_stays_one() -> None:
    limit = MemoryLimit("pi1", PROFILES["pi1"], lambda: 0)
    with pytest.raises(Interrupted):
        interrupted(limit)


def interrupted(limit: MemoryLimit) -> None:
    """A node's role, stopped by a signal after two samples."""
    with limit.kept():
        limit.check()
        limit.check()
        raise Interrupted("stopped by SIGTERM")
