"""Writes the event files of runs that never took place."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from edgenet.results.rundir import RunDir, write_json

START_S = 1_700_000_000.0


class Writer:
    """Appends events to the journals of one run."""

    def __init__(self, path: Path) -> None:
        self.run = RunDir(path)
        self.run.nodes.mkdir(parents=True, exist_ok=True)

    def event(self, node: str, name: str, t: float, round_: int = 0, **fields: Any) -> None:
        record = {"e": name, "t": START_S + t, "r": round_, **fields}
        self.raw(node, json.dumps(record, separators=(",", ":")) + "\n")

    def raw(self, node: str, text: str) -> None:
        path = self.run.events(node)
        path.parent.mkdir(exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(text)

    def span(self, node: str, kind: str, t: float, d: float, round_: int, **fields: Any) -> None:
        self.event(node, "span", t, round_, k=kind, **{"n": kind, "d": d, **fields})

    def message(self, sender: str, receiver: str, round_: int, t: float, **how: Any) -> None:
        """The `bytes` events of both ends; `at` names the only end that wrote one."""
        kind, size, at = how.get("k", "weights"), how.get("payload", 1000), how.get("at")
        figures = {"k": kind, "payload": size, "overhead": size // 50, "messages": 1}
        if at in (None, sender):
            self.event(sender, "bytes", t, round_, peer=receiver, dir="out", **figures)
        if at in (None, receiver):
            self.event(receiver, "bytes", t, round_, peer=sender, dir="in", **figures)


def about(learners: int, **more: Any) -> dict[str, Any]:
    """run.json of a FedAvg run."""
    names = {f"learner{i}": {"role": "learner", "device": "pi4"} for i in range(learners)}
    return {
        "topology": "quickstart",
        "scheme": "fedavg",
        "seed": 7,
        "rounds": 3,
        "parameters": 199210,
        "shaping": {"used": "paced", "why": "needs no privileges"},
        "nodes": {"server": {"role": "server", "device": "host"}, **names},
        **more,
    }


def fedavg(path: Path, *, learners: int = 2, rounds: int = 3, lost: str = "") -> Writer:
    """A whole FedAvg run. Round r lasts from r to r + 1 seconds: 0.1 s of sending, 0.5 s of
    training, 0.2 s of evaluation; every model has 1000 bytes. `lost` dies in round 2."""
    writer = Writer(path)
    names = [f"learner{i}" for i in range(learners)]
    write_json(writer.run.run_json, about(learners, rounds=rounds))
    for name in ["server", *names]:
        role = "server" if name == "server" else "learner"
        device = "host" if name == "server" else "pi4"
        writer.event(name, "start", 0.0, role=role, device=device, slowdown=2.0, pid=1)
    for number in range(1, rounds + 1):
        alive = [name for name in names if name != lost or number == 1]
        _round(writer, number, alive, lost)
    for name in ["server", *names]:
        if name != lost:
            writer.event(name, "end", rounds + 1.1, rounds, status="done", code=0)
    return writer


def _round(writer: Writer, number: int, alive: list[str], lost: str) -> None:
    t = float(number)
    writer.span("server", "send", t, 0.1, number)
    writer.span("server", "wait", t + 0.1, 0.6, number)
    writer.span("server", "evaluate", t + 0.8, 0.2, number)
    for name in alive:
        writer.span(name, "compute", t + 0.1, 0.3, number, n="forward")
        writer.span(name, "idle", t + 0.4, 0.2, number, n="slowdown")
        writer.span(name, "send", t + 0.6, 0.1, number, peer="server")
        writer.message("server", name, number, t + 0.1)
        writer.message(name, "server", number, t + 0.7)
        writer.message(name, "server", number, t + 0.7, k="evaluation", payload=77)
        usage = {"cpu_s": 0.3 * number, "rss_bytes": 10**8, "peak_rss_bytes": 10**8 + number}
        writer.event(name, "resources", t + 0.7, number, peak_weight_bytes=4000, **usage)
    if lost and number == 2:
        why = "closed the connection"
        writer.event("server", "fault", t + 0.5, number, peer=lost, what="lost", why=why)
    loss = math.nan if number == 1 else 1.0 / number
    figures = {"loss": loss, "accuracy": 0.5 + number / 10, "active": alive, "drift": 0.25}
    writer.event("server", "round", t + 1.0, number, **figures)
