"""Devices' memory and cores: kept by the kernel where it can, and told when a node outgrew them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from facilities import needs
from small_runs import topology

from edgenet.cli.main import main
from edgenet.errors import InputError
from edgenet.launchers import limits
from edgenet.launchers.limits import Limiting
from edgenet.shaping import cgroups
from edgenet.shaping.cgroups import Allowance, Group, Trees, planned
from edgenet.shaping.record import clean
from edgenet.topology.load import dump, loads

MIB = 2**20
SMALL = Allowance(memory_bytes=100 * MIB, cores=4)
CUT = {"fedavg": "", "psl": "cut: 7,"}


@pytest.fixture
def as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroups.os, "geteuid", lambda: 0)


def written(group: Group) -> dict[str, str]:
    return {path.name: path.read_text() for f in group.folders for path in f.iterdir()}


def test_version_2_is_one_tree(tmp_path: Path, as_root: None) -> None:
    root, mounts, own = tmp_path / "cgroup", tmp_path / "mounts", tmp_path / "own"
    root.mkdir()
    (root / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    (root / "cgroup.subtree_control").write_text("memory pids\n")
    mounts.write_text(f"cgroup2 {root} cgroup2 rw 0 0\n")
    own.write_text("0::/user.slice\n")
    trees = cgroups.find(mounts, own)
    assert trees == Trees(version=2, memory=root, cpu=root)
    assert (root / "cgroup.subtree_control").read_text() == "+cpu"
    group = planned(trees, "edgenet-x-a", SMALL)
    group.make()
    assert written(group) == {
        "memory.max": str(100 * MIB),
        "memory.swap.max": "0",
        "cpu.max": "400000 100000",
    }
    (root / "edgenet-x-a" / "memory.events").write_text("low 0\noom 3\noom_kill 2\n")
    assert group.kills() == 2
    assert cgroups.group(json.loads(json.dumps(group.fields()))) == group


def test_version_1_is_a_tree_for_each_controller(tmp_path: Path, as_root: None) -> None:
    memory, cpu = tmp_path / "memory", tmp_path / "cpu,cpuacct"
    (memory / "mine").mkdir(parents=True)
    cpu.mkdir()
    mounts, own = tmp_path / "mounts", tmp_path / "own"
    mounts.write_text(
        f"cgroup {cpu} cgroup rw,cpu,cpuacct 0 0\ncgroup {memory} cgroup rw,memory 0 0\n"
    )
    own.write_text("4:memory:/mine\n1:cpu,cpuacct:/elsewhere\n0::/\n")
    trees = cgroups.find(mounts, own)
    assert trees == Trees(version=1, memory=memory / "mine", cpu=cpu)
    group = planned(trees, "edgenet-x-a", SMALL)
    group.make()
    told = written(group)
    assert told["memory.limit_in_bytes"] == told["memory.memsw.limit_in_bytes"] == str(100 * MIB)
    assert told["cpu.cfs_quota_us"] == str(4 * int(told["cpu.cfs_period_us"]))
    (memory / "mine" / "edgenet-x-a" / "memory.oom_control").write_text(
        "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"
    )
    assert group.kills() == 1


def test_without_them_nodes_are_held_by_a_resource_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroups.os, "geteuid", lambda: 1000)
    spec = topology("fedavg", 2)
    assert limits.choose(spec) == Limiting(used="rlimit", why="control groups need root")
    asked = loads(dump(spec), "t.yaml", ["limits=cgroup"])
    with pytest.raises(InputError, match="limits is cgroup, but control groups need root; use"):
        limits.choose(asked)
    assert limits.choose(loads(dump(spec), "t.yaml", ["limits=none"])).used == "none"


def test_only_linux_has_the_resource_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_OWN", "accounting")
    asked = loads(dump(topology("fedavg", 2)), "t.yaml", ["limits=rlimit"])
    for ask in (limits.choose, limits.elsewhere):
        with pytest.raises(InputError, match="limits is rlimit, but only Linux"):
            ask(asked)


def test_who_is_not_forked_here_is_held_by_a_resource_limit_or_an_engine() -> None:
    spec = topology("fedavg", 2)
    assert limits.elsewhere(spec).used == "rlimit"
    assert limits.elsewhere(spec, engine=True).used == "engine"
    asked = loads(dump(spec), "t.yaml", ["limits=cgroup"])
    assert limits.elsewhere(asked, engine=True).used == "engine"
    with pytest.raises(InputError, match="only `edgenet run` and containers have that"):
        limits.elsewhere(asked)


_REFUSED = """
import resource, torch
from edgenet.devices import Device
from edgenet.models.memory import OutOfMemory, allocating
from edgenet.node.memory import MemoryLimit

def grow(count):
    return [torch.zeros(2**18) for _ in range(count)]

before = resource.getrlimit(resource.RLIMIT_DATA)
limit = MemoryLimit("a", DEVICE, shared_bytes=0)
try:
    with limit.refused(), allocating("growth"):
        held = grow(40)
        print("modest")
        held += grow(400)
except OutOfMemory as error:
    print("refused", error)
assert resource.getrlimit(resource.RLIMIT_DATA) == before
del held
print("after", len(grow(400)))
"""


def test_what_goes_beyond_a_resource_limit_is_refused() -> None:
    """In a process of its own, which then has its memory back."""
    device = "from edgenet.devices import PROFILES; from dataclasses import replace; "
    device += f"DEVICE = replace(PROFILES['pi1'], memory_bytes={100 * MIB})\n"
    ended = subprocess.run(
        [sys.executable, "-c", device + _REFUSED], capture_output=True, text=True
    )
    assert ended.stdout.splitlines() == ["modest", "refused growth", "after 400"], ended.stderr


def test_a_node_whose_growth_is_refused_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "t.yaml"
    path.write_text(f"""\
name: refused
devices: {{board: {{memory_bytes: {300 * MIB}, cores: 1, training_flops: 1.0e9}}}}
nodes: {{alone: {{device: board}}}}
limits: rlimit
train: {{scheme: centralized, model: vgg16, optimizer: adam, rounds: 1,
        data: {{name: digits, train: 64, test: 16}}}}
""")
    assert main(["run", str(path), "--out", str(tmp_path / "runs"), "--format", "json"]) == 3
    assert "alone ran out of memory" in capsys.readouterr().err
    (run,) = (tmp_path / "runs").iterdir()
    assert json.loads((run / "run.json").read_text())["limits"]["used"] == "rlimit"


@needs("root", "control groups")
def test_the_kernel_ends_who_takes_more_and_nothing_is_left(tmp_path: Path) -> None:
    trees = cgroups.find()
    assert isinstance(trees, Trees)
    group = planned(trees, f"edgenet-test-{os.getpid()}", SMALL)
    group.make()
    try:
        greedy = (
            "import json, sys; from edgenet.shaping.cgroups import group;"
            "group(json.loads(sys.argv[1])).join(); print(len(bytearray(int(sys.argv[2]))))"
        )
        command = [sys.executable, "-c", greedy, json.dumps(group.fields())]
        modest = subprocess.run([*command, str(40 * MIB)], capture_output=True, text=True)
        assert modest.stdout.strip() == str(40 * MIB), modest.stderr
        assert group.kills() == 0
        ended = subprocess.run([*command, str(200 * MIB)], capture_output=True)
        assert ended.returncode == -signal.SIGKILL
        assert group.kills() == 1
        peak = group.peak_bytes()
        assert peak is None or 40 * MIB < peak <= 100 * MIB + MIB
    finally:
        assert group.remove()
    assert not any(folder.exists() for folder in group.folders)
    assert not group.remove()


@needs("root", "control groups")
def test_clean_removes_a_killed_launchers_groups(tmp_path: Path) -> None:
    trees = cgroups.find()
    assert isinstance(trees, Trees)
    group = planned(trees, f"edgenet-left-{os.getpid()}", SMALL)
    group.make()
    owner = {"pid": 1, "started": None, "boot": "another"}
    lines = [{"owner": owner}, {"groups": [str(folder) for folder in group.folders]}]
    (tmp_path / "left.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (cleaned,) = clean(tmp_path)
    assert cleaned.removed == tuple(f"control group {folder}" for folder in group.folders)
    assert not any(folder.exists() for folder in group.folders)


@needs("root", "control groups")
def test_a_node_that_outgrows_its_device_is_told_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "t.yaml"
    path.write_text("""\
name: outgrown
devices: {board: {memory_bytes: 536870912, cores: 1}}
nodes: {alone: {device: board}}
limits: cgroup
train: {scheme: centralized, model: vgg16, optimizer: adam, rounds: 1,
        data: {name: digits, train: 64, test: 16}}
""")
    assert main(["run", str(path), "--out", str(tmp_path / "runs"), "--format", "json"]) == 3
    said = capsys.readouterr().err
    assert "alone wanted more than the 512 MiB of its device 'board', and the kernel ended" in said
    assert "give it a smaller model" in said
    (run,) = (tmp_path / "runs").iterdir()
    kept = json.loads((run / "run.json").read_text())["limits"]
    assert kept["used"] == "cgroup"
    assert kept["nodes"]["alone"]["kills"] == 1
    assert kept["nodes"]["alone"]["memory_bytes"] < 512 * MIB
    last = (run / "nodes/alone/events.jsonl").read_text().splitlines()[-1]
    assert json.loads(last)["status"] == "failed"
    trees = cgroups.find()
    assert isinstance(trees, Trees)
    assert not list(trees.memory.glob("edgenet-*-alone"))


@needs("root", "control groups")
@pytest.mark.parametrize("scheme", ["fedavg", "psl"])
def test_the_run_goes_on_without_a_learner_that_outgrew_its_device(
    scheme: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "t.yaml"
    path.write_text(f"""\
name: outgrown
devices: {{small: {{memory_bytes: {300 * MIB}, cores: 1}}}}
nodes: {{server: {{device: host}}, learner: {{device: host}}, tiny: {{device: small}}}}
links: {{lan: {{base: server, members: [learner, tiny]}}}}
shaping: none
limits: cgroup
train: {{scheme: {scheme}, model: alexnet, rounds: 2, batch: 32, {CUT[scheme]}
        optimizer: adam, lr: 0.001, data: {{name: digits, train: 64, test: 16}}}}
""")
    assert main(["run", str(path), "--out", str(tmp_path / "runs"), "--format", "json"]) == 0
    summary, said = capsys.readouterr()
    assert "tiny wanted more than the 300 MiB of its device 'small', and the kernel ended" in said
    assert "; the run goes on without it" in said
    told = json.loads(summary)
    assert told["rounds"] == 2
    states = {name: node["status"] for name, node in told["nodes"].items()}
    assert states == {"server": "done", "learner": "done", "tiny": "failed"}
    assert [fault["peer"] for fault in told["faults"]] == ["tiny"]


@needs("root", "control groups")
def test_the_run_ends_with_a_server_that_outgrew_its_device(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "t.yaml"
    path.write_text(f"""\
name: outgrown
devices: {{small: {{memory_bytes: {300 * MIB}, cores: 1}}}}
nodes: {{server: {{device: small}}, learner: {{device: host, count: 2}}}}
links: {{lan: {{base: server, members: learner}}}}
shaping: none
limits: cgroup
train: {{scheme: fedavg, model: alexnet, rounds: 2, batch: 32,
        data: {{name: digits, train: 64, test: 16}}}}
""")
    assert main(["run", str(path), "--out", str(tmp_path / "runs"), "--format", "json"]) == 3
    summary, said = capsys.readouterr()
    assert "server wanted more than the 300 MiB of its device 'small', and the kernel" in said
    states = {name: node["status"] for name, node in json.loads(summary)["nodes"].items()}
    assert states["server"] == "failed"
    assert {states["learner0"], states["learner1"]} <= {"failed", "interrupted"}
