"""Boards for tests: network namespaces, each with an sshd, a host key and a home of its own."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import psutil
import yaml
from facilities import sshd
from leftovers import MARK

from edgenet.shaping.network import Network
from edgenet.topology import loads

LAPTOP = "laptop"
"""The namespace of the deploying host."""
WAIT_S = 90.0
_EVERY, _RCVBUFFORCE = 3, 33  # linux/if_ether.h, asm/socket.h


def wait_for(condition: Callable[[], object], what: str) -> None:
    """Until it holds; fails after WAIT_S."""
    end = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end, f"{what} did not happen within {WAIT_S} s"
        time.sleep(0.05)


class Capture:
    """All packets on a board's outer interface, while it is entered."""

    def __init__(self, network: Network, name: str) -> None:
        self.network, self.name = network, name
        self.packets: list[bytes] = []

    def __enter__(self) -> Capture:
        with self.network.inside(self.name):
            self._sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_EVERY))
        self._sock.setsockopt(socket.SOL_SOCKET, _RCVBUFFORCE, 32 << 20)
        self._sock.bind((self.network.layout.device("lan"), 0))
        self._sock.settimeout(0.2)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._sock.close()

    def saw(self, pieces: list[bytes]) -> int:
        """How many of these bytes were in a packet."""
        return sum(any(piece in packet for packet in self.packets) for piece in pieces)

    def _listen(self) -> None:
        while not self._over.is_set():
            with contextlib.suppress(TimeoutError):
                self.packets.append(self._sock.recv(1 << 17))


class Boards:
    """`count` boards b0, b1, ... on one lan with the laptop."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder = folder
        self.names = [f"b{number}" for number in range(count)]
        lan = loads(
            f"name: boards\nnodes: {{b: {{count: {count}}}, {LAPTOP}: {{}}}}\n"
            f"links: {{lan: {{members: [b, {LAPTOP}]}}}}\ntrain: {{scheme: fedavg, rounds: 1}}\n"
        )
        self.network = Network(lan, "none", folder)
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Boards:
        with ExitStack() as stack:
            stack.enter_context(self.network)
            stack.callback(self._end)
            self._keygen("user")
            for name in self.names:
                self.start(name)
            self._configure()
            for name in self.names:
                wait_for(lambda name=name: self._answers(name), f"an answer of {name}'s sshd")
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def home(self, name: str) -> Path:
        """Where ~ is on a board."""
        return self.folder / name / "home"

    def environments(self, name: str) -> list[str]:
        """What is installed there, also in part."""
        return sorted(path.name for path in self.home(name).glob(".edgenet/*[0-9]*"))

    def start(self, name: str) -> None:
        """Its sshd, in a mount namespace of its own."""
        place = self.folder / name
        self.home(name).mkdir(parents=True, exist_ok=True)
        if not (place / "key").exists():
            self._keygen(f"{name}/key")
        settings = {
            "HostKey": place / "key",
            "AuthorizedKeysFile": self.folder / "user.pub",
            "StrictModes": "no",
            "UsePAM": "no",
            "PasswordAuthentication": "no",
            "PermitRootLogin": "yes",
            "PidFile": "none",
            "SetEnv": f"HOME={self.home(name)} {MARK}={os.environ[MARK]}",
        }
        lines = [f"{key} {value}\n" for key, value in settings.items()]
        (place / "sshd_config").write_text("".join(lines), encoding="utf-8")
        config = shlex.quote(str(place / "sshd_config"))
        script = f"mount -t tmpfs none /run && mkdir /run/sshd && exec {sshd()} -D -e -f {config}"
        with self.network.inside(name), (place / "sshd.log").open("ab") as log:
            self.daemons[name] = subprocess.Popen(
                ["unshare", "--mount", "sh", "-c", script], stdout=log, stderr=log
            )

    def processes(self, name: str) -> list[psutil.Process]:
        """All that run on a board but its sshd and the sessions that sshd holds."""
        namespace = self.network.namespace(name).stat().st_ino
        found = []
        for process in psutil.process_iter(["name"]):
            try:
                here = Path(f"/proc/{process.pid}/ns/net").stat().st_ino == namespace
            except OSError:
                continue
            if here and process.info["name"] != "sshd":
                found.append(process)
        return found

    def unplug(self, name: str) -> None:
        """End everything on a board at once."""
        daemon = psutil.Process(self.daemons[name].pid)
        for process in [*daemon.children(recursive=True), *self.processes(name), daemon]:
            process.kill()
        self.daemons.pop(name).wait()

    def hosts(self, file: Path, **entries: dict[str, object]) -> Path:
        """A hosts file for boards that have this Python's packages."""
        own = {"python": sys.executable, "packages": "present"}
        tree = {"hosts": {name: {**own, **entry} for name, entry in entries.items()}}
        file.write_text(yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")
        return file

    def deploy(self, *arguments: object) -> subprocess.Popen[str]:
        """`edgenet deploy`, typed on the laptop."""
        ssh = f"ssh -F {self.folder / 'config'}"
        with self.network.inside(LAPTOP):
            return subprocess.Popen(
                [sys.executable, "-m", "edgenet", "deploy", *map(str, arguments), "--ssh", ssh],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )

    def _keygen(self, name: str) -> None:
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / name)]
        subprocess.run(command, check=True, timeout=20)

    def _configure(self) -> None:
        known, lines = [], [f"IdentityFile {self.folder / 'user'}", "User root"]
        lines += [f"UserKnownHostsFile {self.folder / 'known_hosts'}", "IdentitiesOnly yes"]
        for name in self.names:
            address = self.network.address(name)
            key = (self.folder / name / "key.pub").read_text(encoding="utf-8")
            known.append(f"{address} {' '.join(key.split()[:2])}\n")
            lines.append(f"Host {name}\n  HostName {address}")
        (self.folder / "known_hosts").write_text("".join(known), encoding="utf-8")
        (self.folder / "config").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def _answers(self, name: str) -> bool:
        command = ["ssh", "-F", str(self.folder / "config"), name, "true"]
        with self.network.inside(LAPTOP):
            return subprocess.run(command, capture_output=True, timeout=20).returncode == 0

    def _end(self) -> None:
        for name in list(self.daemons):
            self.unplug(name)


def ended(process: subprocess.Popen[str], within_s: float = 100.0) -> tuple[int, str]:
    """(exit code, what it said)."""
    try:
        said = process.communicate(timeout=within_s)[0]
    finally:
        process.kill()
        process.communicate()
    return process.returncode, said


def interrupt(process: subprocess.Popen[str]) -> None:
    """Ctrl-C."""
    os.kill(process.pid, signal.SIGINT)
