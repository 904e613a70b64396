"""On a board: torchrun for its nodes, from an order to the files that they leave.

    python -m edgenet.launchers.boards.runner        (ssh starts it; the order comes on its input)

It ends its nodes when it is told to, when nobody speaks to it any more, when the deployment's end
of the line is gone, and by the kernel when it is itself killed.
"""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from edgenet.launchers import torchrun
from edgenet.launchers.boards import kept
from edgenet.launchers.boards.wires import BEAT_S, SILENCE_S, PipeLines, Wire
from edgenet.launchers.children import die_with_parent
from edgenet.launchers.policy import Limits
from edgenet.launchers.supervisor import StopSignals

PIECE_BYTES = 48 << 10
_LINE = 2000
_TICK_S = 0.25


@dataclass(frozen=True, kw_only=True)
class Order:
    """What a board is to run."""

    topology: str
    """Its resolved text."""
    code: tuple[str, str] | None = None
    """Name and text of the file of a scheme of the user's own."""
    nodes: tuple[str, ...]
    """Those that this board carries."""
    host: int
    """Which of the boards it is; the first serves torchrun's store."""
    hosts: int
    """How many there are."""
    master: tuple[str, int]
    """Address and port of that store."""
    address: str
    """Under which the others reach this board."""
    key: str
    """The run's join key (EDGENET_KEY)."""
    data: str = ""
    """The folder of its datasets."""
    run: str = ""
    """What the deployment calls the run: its folder on every board is named by it."""
    resume: int = 0
    """The round that the nodes go on after, of a run that was here before; 0: it begins."""

    def command(self, earlier: Path | None = None) -> list[str]:
        """torchrun, and what it is to start.

        Args:
            earlier: what the nodes of a run that goes on have written.
        """
        host, port = self.master
        # Static, never c10d: that unpickles what lies in a store that knows no key.
        meeting = ["--node-rank", str(self.host), "--master-addr", host, "--master-port", str(port)]
        return [
            *(sys.executable, "-m", "torch.distributed.run", "--nnodes", str(self.hosts)),
            *("--nproc-per-node", str(len(self.nodes)), *meeting),
            *("-m", "edgenet.worker", "topology.yaml", "--out", "out"),
            *("--nodes", ",".join(self.nodes)),
            *(() if earlier is None else ("--resume", str(earlier), "--after", str(self.resume))),
        ]

    def environment(self, folder: Path) -> dict[str, str]:
        """What the nodes find in their environment; the key is nowhere else."""
        own = {
            torchrun.KEY: self.key,
            torchrun.ADDRESS: self.address,
            torchrun.LAUNCHER: torchrun.DEPLOY,
            "OMP_NUM_THREADS": "1",
            "PYTHONUNBUFFERED": "1",
            "TMPDIR": str(folder),  # torchrun leaves its logs there
        }
        if self.data:
            own["EDGENET_DATA"] = self.data
        return {**os.environ, **own}


def order_of(fields: dict[str, Any]) -> Order:
    """The order in a line. Raises ValueError where the line is none."""
    try:
        code = fields["code"]
        return Order(
            **{
                **{key: value for key, value in fields.items() if key != "do"},
                "code": None if code is None else (os.path.basename(code[0]), str(code[1])),
                "nodes": tuple(map(str, fields["nodes"])),
                "master": (str(fields["master"][0]), int(fields["master"][1])),
                "run": str(fields["run"]),
                "resume": int(fields["resume"]),
            }
        )
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError(f"the order lacks or has too much of something ({error})") from None


def carry_out(wire: Wire, order: Order, stop: StopSignals, limit_s: float | None = None) -> None:
    """Run an order to its end, and send back what it left.

    Args:
        wire: to the deployment.
        order: what to run.
        stop: a signal that it counts ends the nodes.
        limit_s: after which they are ended, too; None: they have all the time they want.

    Raises:
        ValueError: it is to go on with a run that is not here, or still goes on.
    """
    with kept.place(order.run, again=order.resume > 0) as folder:
        (folder / "topology.yaml").write_text(order.topology, encoding="utf-8")
        if order.code is not None:
            (folder / order.code[0]).write_text(order.code[1], encoding="utf-8")
        process = subprocess.Popen(
            order.command(kept.out(folder) if order.resume else None),
            cwd=folder,
            env=order.environment(folder),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            preexec_fn=partial(die_with_parent, os.getpid(), signal.SIGTERM),
        )
        reader = threading.Thread(target=_pass_on, args=(process, wire), daemon=True)
        reader.start()
        try:
            _watch(process, wire, stop, limit_s)
        finally:
            _end(process, 0.0)
            reader.join(5.0)
        wire.send(**{"is": "ended", "code": process.returncode})
        _hand_over(wire, kept.out(folder))
        if _wanted_no_more(wire, stop):
            shutil.rmtree(folder, ignore_errors=True)


def _pass_on(process: subprocess.Popen[bytes], wire: Wire) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        wire.send(**{"is": "log", "text": line.decode(errors="replace").rstrip()[:_LINE]})


def _watch(
    process: subprocess.Popen[bytes], wire: Wire, stop: StopSignals, limit_s: float | None
) -> None:
    """Until torchrun has ended, by itself or because it had to."""
    begun = heard = worked = told = time.monotonic()
    limits, started = Limits(), False
    while process.poll() is None:
        lines = wire.read_for(_TICK_S)
        now = time.monotonic()
        heard = now if lines else heard
        if psutil.Process(process.pid).children():
            started, worked = True, now
        if now - told > BEAT_S:
            told = now
            wire.send(**{"is": "beat"})
        orders = [line for line in lines if line.get("do") == "stop"]
        if orders:
            return _end(process, float(orders[0].get("grace_s", limits.term_s)))
        late = limit_s is not None and now - begun > limit_s
        if late:
            wire.send(**{"is": "log", "text": f"stopped: the limit here is {limit_s:.0f} s"})
        if wire.ended or stop.count or late or now - heard > SILENCE_S:
            return _end(process, limits.term_s)
        # Its nodes have ended, and it waits minutes for a torchrun elsewhere that is no more.
        if started and now - worked > limits.rest_s:
            return _end(process, limits.term_s)


def _end(process: subprocess.Popen[bytes], grace_s: float) -> None:
    """End torchrun and its nodes: SIGTERM, and SIGKILL after the grace."""
    with contextlib.suppress(psutil.NoSuchProcess):
        nodes = psutil.Process(process.pid).children(recursive=True)
        process.terminate()  # which it passes on
        _, alive = psutil.wait_procs(nodes, timeout=grace_s)
        for node in alive:
            node.kill()
        try:
            process.wait(max(grace_s, 1.0))
        except subprocess.TimeoutExpired:
            process.kill()
        psutil.wait_procs(alive, timeout=1.0)
    process.wait()


def _hand_over(wire: Wire, run: Path | None) -> None:
    """Send every file of the run but its checkpoints, which are of use here only."""
    files = [] if run is None else [path for path in run.rglob("*") if path.is_file()]
    for path in sorted(each for each in files if each.suffix not in (".ckpt", ".part")):
        name = path.relative_to(str(run)).as_posix()
        with path.open("rb") as file:
            while not wire.ended:
                piece = file.read(PIECE_BYTES)
                data = base64.b64encode(piece).decode()
                wire.send(**{"is": "file", "path": name, "data": data})
                if len(piece) < PIECE_BYTES:
                    break
    wire.send(**{"is": "gathered"})


def _wanted_no_more(wire: Wire, stop: StopSignals) -> bool:
    """Wait for the deployment's last word: whether the run is complete, and nothing of it has to
    stay here."""
    heard = time.monotonic()
    while not wire.ended and not stop.count and time.monotonic() - heard < SILENCE_S:
        for line in wire.read_for(_TICK_S):
            heard = time.monotonic()
            if line.get("do") == "forget":
                return True
    return False


def tell(wire: Wire, order: dict[str, Any]) -> None:
    """Say what is saved here of the nodes of a run. Raises ValueError where there is nothing."""
    wire.send(holds=kept.shelves(str(order.get("run")), [str(each) for each in order["nodes"]]))


def main() -> int:
    """Take one order from the input and carry it out."""
    wire = PipeLines(sys.stdin.buffer, sys.stdout.buffer)
    with StopSignals() as stop:
        order = wire.next(SILENCE_S)
        if order is None:
            return 1
        try:
            if order.get("do") == "tell":
                tell(wire, order)
            else:
                carry_out(wire, order_of(order), stop)
        except ValueError as error:
            wire.send(**{"is": "refused", "text": str(error)})
    return 0


if __name__ == "__main__":
    sys.exit(main())
