"""`edgenet agent`: what it does for those who hold the cluster's key, and what for others."""

from __future__ import annotations

import json
import os
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from configparser import ConfigParser
from contextlib import closing, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from leftovers import MARK
from small_runs import assert_same, topology
from small_runs import run as run_here
from ssh_boards import wait_for

from edgenet.cli.main import parser
from edgenet.errors import InputError
from edgenet.launchers.boards import sealed, wires
from edgenet.launchers.boards.hosts import Board
from edgenet.launchers.boards.runner import Order
from edgenet.launchers.boards.sealed import AgentCall, SealedLines, cluster_key, read_key, run_key
from edgenet.launchers.boards.wires import BoardError, Talk
from edgenet.links.handshake import GREETING_BYTES
from edgenet.topology import dump
from edgenet.topology.spec import Topology

pytestmark = pytest.mark.processes
ROOT = Path(__file__).parents[1]
SECRET = "of this test session only"
SPEC = topology("fedavg", learners=2)


class Service:
    """An agent on this host, with a home of its own."""

    def __init__(self, folder: Path) -> None:
        self.home, self.key = folder, folder / "cluster.key"
        self.key.touch(mode=0o600)
        self.key.write_text(SECRET, encoding="utf-8")
        self.log = folder / "agent.log"
        command = ["agent", "--key-file", str(self.key), "--listen", "127.0.0.1:0"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "edgenet", *command],
                env=os.environ | {"HOME": str(folder), MARK: os.environ[MARK]},
                stderr=log,
            )
        wait_for(lambda: "listens at" in self.said(), "the agent's start")
        self.address = self.said().split("listens at ")[1].split()[0]
        self.board = Board(name="here", ssh="-", agent=self.address, nodes=())

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def call(self) -> Talk:
        return AgentCall(self.board, cluster_key(SECRET))

    def connect(self) -> socket.socket:
        host, _, port = self.address.partition(":")
        return socket.create_connection((host, int(port)), timeout=10)

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = Service(tmp_path_factory.mktemp("agent"))
    yield service
    assert service.end() == 0
    assert not list(service.home.glob(".edgenet/runs/*"))


def deploy(folder: Path, agent: Service, key: Path) -> tuple[int, str]:
    """`edgenet deploy` by the agent: exit code, and what it said."""
    (folder / "small.yaml").write_text(dump(SPEC), encoding="utf-8")
    (folder / "hosts.yaml").write_text(
        f'hosts: {{here: {{agent: "{agent.address}", count: 3}}}}', encoding="utf-8"
    )
    command = ["deploy", "small.yaml", "--hosts", "hosts.yaml", "--key-file", str(key)]
    done = subprocess.run(
        [sys.executable, "-m", "edgenet", *command],
        cwd=folder, capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip
    return done.returncode, done.stderr


def order(spec: Topology = SPEC, **more: Any) -> dict[str, Any]:
    made = Order(
        topology=dump(spec),
        nodes=("server", "learner0", "learner1"),
        host=0,
        hosts=1,
        master=("127.0.0.1", _free_port()),
        address="127.0.0.1",
        key="",
        run=secrets.token_hex(8),
    )
    return {**asdict(made), "do": "run", "salt": secrets.token_hex(8), **more}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


def answers(agent: Service) -> bool:
    """Whether it checks its board for somebody who may ask."""
    with closing(agent.call()) as call:
        call.wire.send(do="check", name="", address="127.0.0.1")
        facts = call.hear("port", 20.0)
    return bool(facts["present"]) and facts["python"] == list(sys.version_info[:3])


def refusal(agent: Service, fields: dict[str, Any]) -> str:
    """Why it will not do that."""
    with closing(agent.call()) as call:
        call.wire.send(**fields)
        with pytest.raises(BoardError) as caught:
            call.hear("code", 20.0)
    return str(caught.value)


def test_it_runs_a_topology_with_the_weights_of_any_other_run(
    agent: Service, tmp_path: Path
) -> None:
    code, said = deploy(tmp_path, agent, agent.key)
    assert code == 0, said
    (run,) = (tmp_path / "runs").iterdir()
    here = run_here(SPEC, tmp_path / "here").state
    assert_same(here, torch.load(run / "model.pt", weights_only=True), exact=True)
    assert json.loads((run / "summary.json").read_text(encoding="utf-8"))["outcome"] == "done"


def test_another_key_is_told_and_runs_nothing(agent: Service, tmp_path: Path) -> None:
    other = tmp_path / "other.key"
    other.touch(mode=0o600)
    other.write_text("another secret, as long as it takes", encoding="utf-8")
    code, said = deploy(tmp_path, agent, other)
    assert code == 2
    assert f"its agent at {agent.address} holds another key; give both the same key file" in said
    assert "was turned away" in agent.said()


def test_one_job_at_a_time_and_its_end_with_the_line(agent: Service) -> None:
    faults = {"heartbeat": "1 s", "silence": "20 s", "checkpoint": 1}
    asked = order(topology("fedavg", 2, faults, rounds=100000))
    kept = f".edgenet/runs/run-{asked['run']}"
    before = len(agent.said())
    with closing(agent.call()) as first:
        first.wire.send(**asked)
        saved = f"{kept}/out/*/nodes/learner1/checkpoints/*.ckpt"
        wait_for(lambda: list(agent.home.glob(saved)), "a node's checkpoint")
        assert "another topology runs here" in refusal(agent, order())
        assert answers(agent)
        assert agent.children()
    wait_for(lambda: "is over" in agent.said()[before:], "the end of the cancelled job")
    assert not agent.children()
    with closing(agent.call()) as second:
        second.wire.send(do="tell", run=asked["run"], nodes=["learner1"])
        told = second.hear("holds", 30.0)["holds"]
    assert set(told["learner1"]["files"].values()) == {None}
    assert "is not here" in refusal(agent, order(resume=1))
    shutil.rmtree(agent.home / kept)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"do": "run"}, "the order lacks or has too much"),
        ({"do": "install"}, "there is no order 'install'"),
        ({"do": "check"}, "address"),
        (order(code=["x.py", "print()"]), "takes no code from others"),
        (order(topology=dump(SPEC).replace("fedavg", "/tmp/x.py")), "reads no files for others"),
        (order(topology="nodes: [}"), "the topology"),
        (order(nodes=["cam9"]), "the topology has no node 'cam9'"),
        (order(nodes=[]), "the topology has no node ''"),
    ],
)
def test_anything_else_is_refused(agent: Service, fields: dict[str, Any], said: str) -> None:
    assert said in refusal(agent, fields)
    assert not agent.children()


@pytest.mark.parametrize(
    "raw", [b"", b"GET / HTTP/1.1\r\n\r\n", secrets.token_bytes(300), b"EDGE" + bytes(1 << 16)]
)
def test_rogue_bytes_change_nothing(agent: Service, raw: bytes) -> None:
    with agent.connect() as rogue, suppress(OSError):  # it may have hung up already
        rogue.sendall(raw)
        rogue.shutdown(socket.SHUT_WR)
        while rogue.recv(4096):
            pass  # until it hangs up
    assert answers(agent)


def test_silent_strangers_do_not_keep_others_out(agent: Service) -> None:
    strangers = [agent.connect() for _ in range(40)]  # more than it talks to at one time
    try:
        for stranger in strangers[::2]:
            stranger.sendall(b"EDGE" + bytes(GREETING_BYTES - 4))
        assert answers(agent)
    finally:
        for stranger in strangers:
            stranger.close()


def test_a_forged_repeated_or_oversized_line_ends_the_conversation() -> None:
    mine, theirs = socket.socketpair()
    token = secrets.token_bytes(32)
    with closing(SealedLines(mine, token, "deployment")) as deployment:
        deployment.send(do="check")
        deployment.send(do="more")
        lines = theirs.recv(4096).splitlines(keepends=True)

    def heard(*raw: bytes) -> tuple[list[dict[str, Any]], bool]:
        writer, reader = socket.socketpair()
        with closing(SealedLines(reader, token, "agent")) as agent:
            sender = threading.Thread(target=_send, args=(writer, b"".join(raw)))
            sender.start()
            found = []
            while not agent.ended:
                found += agent.read_for(5.0)
        sender.join()
        return found, agent.forged

    assert heard(*lines) == ([{"do": "check"}, {"do": "more"}], False)
    assert heard(lines[0], lines[0]) == ([{"do": "check"}], True)
    assert heard(lines[1]) == ([], True)
    assert heard(lines[0].replace(b"check", b"chuck"), lines[1]) == ([], True)
    assert heard(b"x" * (5 << 20)) == ([], False)
    theirs.close()


def _send(sock: socket.socket, raw: bytes) -> None:
    with sock:
        with suppress(OSError):  # it hung up, as it should
            sock.sendall(raw)


@pytest.mark.parametrize("kind", ["socket", "pipes"])
def test_who_takes_nothing_any_more_is_as_good_as_gone(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deployment that was frozen in the middle of the files must not hold its boards."""
    monkeypatch.setattr(sealed, "SILENCE_S", 0.2)
    monkeypatch.setattr(wires, "SILENCE_S", 0.2)
    mine, theirs = socket.socketpair()
    with mine, theirs, mine.makefile("rb") as reading, mine.makefile("wb") as writing:
        wire = (
            SealedLines(mine, secrets.token_bytes(32), "agent")
            if kind == "socket"
            else wires.PipeLines(reading, writing)
        )
        while not wire.ended:  # until the kernel takes no more
            wire.send(**{"is": "file", "data": "x" * 50_000})
        for _ in range(10_000):  # and no more waits of 0.2 s each
            wire.send(**{"is": "file", "data": "x"})


def test_a_line_is_not_taken_from_the_wrong_end() -> None:
    mine, theirs = socket.socketpair()
    token = secrets.token_bytes(32)
    with (
        closing(SealedLines(mine, token, "agent")) as a,
        closing(SealedLines(theirs, token, "agent")) as b,
    ):
        a.send(do="check")
        assert b.read_for(5.0) == []
        assert b.forged


def test_the_unit_starts_what_there_is() -> None:
    unit = ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(ROOT / "launch" / "edgenet-agent.service")
    python, module, name, *arguments = shlex.split(unit["Service"]["ExecStart"])
    assert (Path(python).name, module, name) == ("python", "-m", "edgenet")
    options = parser().parse_args(arguments)
    assert str(options.key_file) == "%d/key"
    assert options.limit == "1 h"
    assert unit["Service"]["LoadCredential"].startswith("key:")


def test_a_run_has_a_key_of_its_own() -> None:
    key = cluster_key(SECRET)
    assert run_key(key, "a") != run_key(key, "b")
    assert run_key(key, "a") == run_key(cluster_key(SECRET), "a")


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        (None, 0, "no such file or directory; make a key file by `openssl rand"),
        ("short", 0o600, "a key has at least 16 characters"),
        ("x" * 32, 0o644, "others may read it; chmod 600"),
    ],
)
def test_a_key_file_that_is_none_is_one_sentence(
    tmp_path: Path, text: str | None, mode: int, said: str
) -> None:
    path = tmp_path / "key"
    if text is not None:
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)
    with pytest.raises(InputError, match=said):
        read_key(path)
