"""run.json: how a run came about, and how it ended (the keys that results read: results.rundir)."""

from __future__ import annotations

import importlib.metadata
import math
import os
import platform
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import edgenet
from edgenet.channels import channel
from edgenet.launchers.policy import End
from edgenet.launchers.resuming import attempts
from edgenet.launchers.shaping import Shaping
from edgenet.results.rundir import SCHEMA_VERSION, RunDir, write_json
from edgenet.topology.comings import late_starters
from edgenet.topology.draw import kind_of
from edgenet.topology.graph import radio_of
from edgenet.topology.spec import LinkSpec, Topology

_PACKAGES = ("torch", "torchvision", "numpy", "psutil", "PyYAML", "rich")
_PACKAGE_DIR = Path(edgenet.__file__).resolve().parent


class Seated(Protocol):
    """What is recorded of a node."""

    @property
    def name(self) -> str:
        """The node."""

    @property
    def role(self) -> str:
        """What it plays."""

    @property
    def device(self) -> str:
        """Its device profile."""


class Record:
    """Keeps run.json: written whole when the run starts and again when it ends.

    Args:
        run: where it goes.
        topology: what is run.
        seats: the nodes that are started.
        shaping: the back end in use.
        launcher: what starts the nodes ('local', 'torchrun').
        after: the round that the run goes on after; 0: it begins.
    """

    def __init__(
        self,
        run: RunDir,
        topology: Topology,
        seats: Sequence[Seated],
        shaping: Shaping,
        launcher: str,
        after: int = 0,
    ) -> None:
        self._run, self.launcher = run, launcher
        later = late_starters(topology.events)
        self._start = time.monotonic()
        self._value: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "topology": topology.name,
            "scheme": topology.train.scheme,
            "seed": topology.seed,
            "rounds": topology.train.rounds,
            "shaping": vars(shaping),
            "nodes": {
                seat.name: {
                    "role": seat.role,
                    "device": seat.device,
                    **_radio(topology, seat.name),
                    **({"later": True} if seat.name in later else {}),
                }
                for seat in seats
            },
            "links": recorded_links(topology),
            "devices": {name: asdict(each) for name, each in topology.devices.items()},
            "carbon_kg_per_kwh": topology.carbon_kg_per_kwh,
            "launcher": launcher,
            "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            **environment(),
        }
        this = {key: self._value[key] for key in ("started", "command")} | {"after": after}
        self._value["attempts"] = [*attempts(run.run()), this]

    def write(self, **more: Any) -> None:
        """Write what is known so far, and `more`."""
        self._value.update(more)
        write_json(self._run.run_json, self._value)

    def finish(self, exit_code: int, error: str | None, ends: Mapping[str, End]) -> None:
        """Write how the run ended.

        Args:
            exit_code: of the command.
            error: the sentence that it ended with, or None.
            ends: how each node's process ended.
        """
        ended = {name: {"code": end.code, "signal": end.signal} for name, end in ends.items()}
        wall_s = round(time.monotonic() - self._start, 3)
        ending = {"exit_code": exit_code, "error": error, "command_s": wall_s}
        self._value["attempts"][-1] |= ending
        self.write(ended=ended, **ending)


def _radio(topology: Topology, node: str) -> dict[str, str]:
    radio = radio_of(topology, node)
    return {} if radio is None else {"radio": radio}


def recorded_links(topology: Topology) -> list[dict[str, Any]]:
    """All links, as run.json has them."""
    return [_link(topology, link) for link in topology.links]


def _link(topology: Topology, link: LinkSpec) -> dict[str, Any]:
    """A link and what each of its ways was asked to do when the run began; of a switch, whose ways
    are alike, the first two."""
    others = link.ends[:1] if link.base is None else (link.base,)
    members = link.ends[1:2] if link.base is None else link.ends
    ways = [way for a in members for b in others for way in ((a, b), (b, a))]
    told = []
    for source, target in ways:
        asked = channel(link, source, target, topology)
        rate_bps = asked.rate_bps if math.isfinite(asked.rate_bps) else None
        told.append({"source": source, "target": target, "rate_bps": rate_bps,
                     "delay_s": asked.delay_s})  # fmt: skip
    keys = ("name", "profile", "ends", "base", "shared")
    return {**{key: getattr(link, key) for key in keys}, "kind": kind_of(link), "ways": told}


def environment() -> dict[str, Any]:
    """Command, versions, host and git revision of this process."""
    return {
        "command": sys.argv,
        "versions": {"python": platform.python_version(), "edgenet": edgenet.__version__}
        | {name: version for name in _PACKAGES if (version := _version(name))},
        "host": {
            "name": socket.gethostname(),
            "system": platform.platform(),
            "machine": platform.machine(),
            "cpus": os.cpu_count(),
        },
        "git": git_revision(),
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def git_revision(package: Path = _PACKAGE_DIR) -> dict[str, Any] | None:
    """{revision, changed} of the checkout that the package runs from; None if it is not one."""
    top = _git(package, "rev-parse", "--show-toplevel", "HEAD")
    if top is None:
        return None
    folder, _, revision = top.strip().partition("\n")
    if Path(folder).resolve() != package.parent:
        return None  # the package is installed somewhere below another project's checkout
    changes = _git(package, "status", "--porcelain", "--untracked-files=no")
    return {"revision": revision, "changed": bool(changes)}


def _git(folder: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
