"""`edgenet deploy` onto boards that are network namespaces with a real sshd each."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import torch
from facilities import have, needs
from small_runs import assert_same, topology
from small_runs import run as run_here
from ssh_boards import WAIT_S, Boards, Capture, ended, interrupt, wait_for

from edgenet.topology import dump

pytestmark = [
    pytest.mark.root,
    pytest.mark.processes,
    pytest.mark.timeout(200),
    needs("root", "network namespaces", "sshd"),
]

SPEC = topology("fedavg", learners=2)
BEATING = {"heartbeat": "1 s", "silence": "20 s"}
ENDLESS = topology("fedavg", 2, {**BEATING, "checkpoint": 0}, rounds=100000)
LONG = topology("fedavg", 2, {**BEATING, "checkpoint": 2, "quorum": 2}, rounds=150, evaluate=0)
"""Without one board the other must not go on: they do not stop at one moment."""
CARRIED = {"b0": ("learner0",), "b1": ("learner1", "server")}
"""The server is on no first board and no first rank."""


@pytest.fixture(scope="module")
def boards(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Boards]:
    with Boards(tmp_path_factory.mktemp("boards"), len(CARRIED)) as found:
        yield found


@pytest.fixture
def hosts(boards: Boards, tmp_path: Path) -> Path:
    return boards.hosts(
        tmp_path / "hosts.yaml", **{name: {"nodes": list(nodes)} for name, nodes in CARRIED.items()}
    )


def written(folder: Path, text: str) -> Path:
    path = folder / "small.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def left(boards: Boards) -> list[str]:
    """What runs or lies on the boards that a run should have taken with it."""
    runs = [str(path) for name in CARRIED for path in boards.home(name).glob(".edgenet/runs/*")]
    return runs + [str(each) for name in boards.daemons for each in boards.processes(name)]


def test_a_bad_board_is_named_and_nothing_is_installed(boards: Boards, tmp_path: Path) -> None:
    file = written(tmp_path, dump(SPEC))
    bad = {name: {"nodes": list(nodes)} for name, nodes in CARRIED.items()}
    bad["b1"]["python"] = "/opt/none/python"
    code, said = ended(boards.deploy(file, "--hosts", boards.hosts(tmp_path / "h.yaml", **bad)))
    assert code == 2
    assert "board 'b1' has no /opt/none/python; name its interpreter as `python:`" in said
    assert "board 'b0'" not in said
    assert [boards.environments(name) for name in CARRIED] == [[], []]
    assert not list(tmp_path.glob("runs/*"))


def plaintext(folder: Path) -> list[bytes]:
    """Pieces of the weights that the server sends to the learners in the last round."""
    spec = topology("fedavg", learners=2, rounds=SPEC.train.rounds - 1)
    state = run_here(spec, folder / "before").state
    raw = max(state.values(), key=torch.numel).numpy().tobytes()
    return [raw[start : start + 64] for start in range(0, len(raw), len(raw) // 20)][1:-1]


def deployed(boards: Boards, hosts: Path, folder: Path, *options: str) -> tuple[Path, str, Capture]:
    """A run to its end, with the weights of one host: its folder, what it said, and the packets."""
    file, out = written(folder, dump(SPEC)), folder / "out"
    with Capture(boards.network, "b0") as capture:
        code, said = ended(boards.deploy(file, "--hosts", hosts, "--out", out, *options))
    assert code == 0, said
    (run,) = out.iterdir()
    here = run_here(SPEC, folder / "here").state
    assert_same(here, torch.load(run / "model.pt", weights_only=True), exact=True)
    assert left(boards) == []
    return run, said, capture


def test_boards_give_the_weights_of_one_host(boards: Boards, hosts: Path, tmp_path: Path) -> None:
    run, said, capture = deployed(boards, hosts, tmp_path)
    assert "installed on b1, b0" in said
    assert capture.saw(plaintext(tmp_path)) > 0
    show = [sys.executable, "-m", "edgenet", "show", str(run), "--format", "json"]
    shown = json.loads(subprocess.run(show, capture_output=True, check=True, timeout=60).stdout)
    assert shown["outcome"] == "done"
    assert {name: node["status"] for name, node in shown["nodes"].items()} == dict.fromkeys(
        ("server", "learner0", "learner1"), "done"
    )
    told = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert told["launcher"] == "deploy"
    assert {name: tuple(each["nodes"]) for name, each in told["boards"].items()} == CARRIED
    assert [len(boards.environments(name)) for name in CARRIED] == [1, 1]


@needs("WireGuard")
def test_wireguard_hides_what_boards_say(boards: Boards, hosts: Path, tmp_path: Path) -> None:
    _, said, capture = deployed(boards, hosts, tmp_path, "--wireguard")
    assert "WireGuard stands between all boards" in said
    assert len(capture.packets) > 100
    assert capture.saw(plaintext(tmp_path)) == 0
    for name in CARRIED:
        with boards.network.inside(name):
            devices = [device for _, device in socket.if_nameindex()]
        assert not [device for device in devices if device.startswith("edgenet-")]
        assert not list(boards.home(name).glob(".edgenet/tunnels/*"))


def begin(boards: Boards, hosts: Path, folder: Path) -> subprocess.Popen[str]:
    """A run without an end, whose first round is over on every board."""
    process = boards.deploy(
        written(folder, dump(ENDLESS)), "--hosts", hosts, "--out", folder / "out"
    )
    journals = ".edgenet/runs/*/out/*/nodes/*/events.jsonl"

    def trains(name: str, nodes: tuple[str, ...]) -> bool:
        assert process.poll() is None, process.communicate()
        found = [path for path in boards.home(name).glob(journals) if path.parent.name in nodes]
        return len(found) == len(nodes) and all('"r":2' in path.read_text() for path in found)

    for name, nodes in CARRIED.items():
        wait_for(lambda name=name, nodes=nodes: trains(name, nodes), f"training on {name}")
    return process


def test_ctrl_c_ends_all_boards(boards: Boards, hosts: Path, tmp_path: Path) -> None:
    process = begin(boards, hosts, tmp_path)
    interrupt(process)
    code, said = ended(process)
    assert code == 130, said
    assert "installed already" in said
    (run,) = (tmp_path / "out").iterdir()
    assert sorted(path.name for path in run.glob("nodes/*")) == sorted(sum(CARRIED.values(), ()))
    assert left(boards) == []


def saved(boards: Boards, name: str) -> list[int]:
    """The rounds of which a board has checkpoints of all its nodes."""
    folder = ".edgenet/runs/run-*/out/*/nodes"
    each = [
        {int(path.stem) for path in boards.home(name).glob(f"{folder}/{node}/checkpoints/*.ckpt")}
        for node in CARRIED[name]
    ]
    return sorted(set.intersection(*each))


def kill(process: subprocess.Popen[str]) -> None:
    """SIGKILL to a deployment; its ssh clients, which stay behind, and their folder go as well."""
    clients = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate()
    for folder in Path(tempfile.gettempdir()).glob("en-*"):
        for each in psutil.process_iter(["cmdline"]):  # of the shared connections, which outlive it
            if str(folder) in " ".join(each.info["cmdline"] or ()):
                clients.append(each)
        shutil.rmtree(folder)
    for each in clients:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()
    assert psutil.wait_procs(clients, timeout=WAIT_S)[1] == []


def test_a_killed_deployment_goes_on_from_what_boards_have_kept(
    boards: Boards, hosts: Path, tmp_path: Path
) -> None:
    process = boards.deploy(
        written(tmp_path, dump(LONG)), "--hosts", hosts, "--out", tmp_path / "out"
    )
    for name in CARRIED:
        wait_for(lambda name=name: saved(boards, name)[-1:] > [5], f"checkpoints on {name}")
    kill(process)
    for name in CARRIED:
        wait_for(lambda name=name: not boards.processes(name), f"the end of the nodes on {name}")
    (run,) = (tmp_path / "out").iterdir()

    (kept,) = boards.home("b0").glob(".edgenet/runs/run-*")
    away = kept.rename(tmp_path / kept.name)
    code, said = ended(boards.deploy("--hosts", hosts, "--resume", run))
    assert code == 2, said
    assert f"board 'b0' has lost its folder of this run (~/.edgenet/runs/{kept.name})" in said
    assert "checkpoints of learner0; put it back, or run the topology anew" in said
    shutil.move(away, kept)

    common = max(set(saved(boards, "b0")) & set(saved(boards, "b1")))
    encrypted = ["--wireguard"] if have("WireGuard") else []
    code, said = ended(boards.deploy("--hosts", hosts, "--resume", run, *encrypted))
    assert code == 0, said
    assert f"goes on after round {common} of {LONG.train.rounds}" in said
    here = run_here(LONG, tmp_path / "here").state
    assert_same(here, torch.load(run / "model.pt", weights_only=True), exact=True)
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    assert (summary["rounds"], summary["attempts"]) == (LONG.train.rounds, 2)
    assert left(boards) == []


def ranks(process: psutil.Process) -> list[str]:
    """Its rank among those of its board; none where torchrun has not started it."""
    with contextlib.suppress(psutil.Error):
        return [process.environ()["LOCAL_RANK"]] if "LOCAL_RANK" in process.environ() else []
    return []


def test_a_run_whose_node_failed_goes_on_as_often_as_it_may(
    boards: Boards, hosts: Path, tmp_path: Path
) -> None:
    faults = {**BEATING, "checkpoint": 2, "quorum": 2}
    spec = topology("fedavg", 2, faults, rounds=60, evaluate=0)
    file, out = written(tmp_path, dump(spec)), tmp_path / "out"
    process = boards.deploy(file, "--hosts", hosts, "--out", out, "--max-restarts", 1)
    wait_for(lambda: max(saved(boards, "b1"), default=0) > 5, "checkpoints on b1")
    (learner,) = (each for each in boards.processes("b1") if ranks(each) == ["0"])
    learner.kill()
    code, said = ended(process)
    assert code == 0, said
    assert "it is started again (1 of 1)" in said
    assert "goes on after round" in said
    (run,) = out.iterdir()
    here = run_here(spec, tmp_path / "here").state
    assert_same(here, torch.load(run / "model.pt", weights_only=True), exact=True)
    assert left(boards) == []


def test_a_board_that_is_gone_ends_the_run(boards: Boards, hosts: Path, tmp_path: Path) -> None:
    process = begin(boards, hosts, tmp_path)
    boards.unplug("b1")
    code, said = ended(process)
    assert code == 3, said
    assert "board 'b1' was lost with learner1, server" in said
    assert [each for each in left(boards) if "/b1/" not in each] == []
