"""A plan as a compose file: one service a node, one rank a service. Pure functions.

Every service gets torchrun's variables, and so `python -m edgenet.worker` needs no torchrun. They
say that all ranks share one host, which is true: the host's speed is then measured once, by the
first rank while the others keep still, and not by all at the same time. Under which address a node
is reached is said apart from that (EDGENET_ADDRESS: the service's name).

A device's cores are written as a quota over a period, because `cpus` is refused where it exceeds
the cores of the machine that happens to run the file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

import edgenet
from edgenet.data.catalogue import EMBEDDED, VARIABLE
from edgenet.devices import Device
from edgenet.errors import InputError
from edgenet.launchers.limits import elsewhere
from edgenet.launchers.torchrun import ADDRESS, COMPOSE, KEY, LAUNCHER
from edgenet.node.plan import Plan, Seat
from edgenet.topology.spec import Topology

IMAGE = "edgenet"
"""What the nodes run in; launch/image.sh builds it."""

RANK_LABEL = "edgenet.rank"
"""Label of a service: its rank. The results are those of rank 0."""

_CHECKOUT = Path(edgenet.__file__).resolve().parents[1]
_DOCKERFILE = "launch/Dockerfile"
_PORT = 29500
_PERIOD_US = 100_000
_NETWORK, _VOLUME, _RUNS = "edge", "runs", "/runs"


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a compose file is written for."""

    plan: Plan
    """The resolved topology."""
    overrides: Sequence[str]
    """The 'path.to.key=value' that were applied to its file."""
    folder: Path
    """Where the compose file will lie: its paths are relative to this."""
    net_admin: bool
    """Whether the nodes shape their interfaces themselves."""


def document(request: Request) -> dict[str, Any]:
    """The compose file as plain values, in the order in which they are written.

    Raises:
        InputError: the scheme is a file of the user's own, which the containers would not have.
    """
    if request.plan.code is not None:
        raise InputError(
            f"{request.plan.topology.where('train.scheme')}: containers do not get "
            f"{request.plan.code.file}; run schemes of your own with `edgenet run` or torchrun"
        )
    _check_devices(request.plan.topology)
    first, *others = request.plan.seats
    services = {first.name: _build(request.folder) | _service(request, first)}
    for seat in others:
        services[seat.name] = {**_service(request, seat), "depends_on": [first.name]}
    return {
        "services": services,
        "networks": {_NETWORK: {"internal": True}},
        "volumes": {_VOLUME: {}},
    }


def _check_devices(topology: Topology) -> None:
    """Containers get the topology's file and none that it names."""
    for name in topology.devices:
        if not any(path.startswith(f"devices.{name}.") for path in topology.lines):
            raise InputError(
                f"{topology.where(f'devices.{name}')}: containers do not get the file of device "
                f"'{name}'; write its fields into the topology"
            )


def text(request: Request) -> str:
    """The compose file: the same bytes for the same request."""
    file = _relative(Path(request.plan.topology.file), request.folder)
    command = " ".join([file.removeprefix("./"), *(f"--set {each}" for each in request.overrides)])
    head = (
        f"# Written by `edgenet compose {command}`.\n"
        f"# `launch/compose.sh {command}` runs it and brings the results;\n"
        "# by hand: launch/image.sh && EDGENET_KEY=$(openssl rand -hex 16) docker-compose up\n"
    )
    return head + yaml.safe_dump(document(request), sort_keys=False, width=1000)


def _build(folder: Path) -> dict[str, Any]:
    """How the image is made: only where edgenet runs from a checkout."""
    if not (_CHECKOUT / _DOCKERFILE).is_file():
        return {}
    return {"build": {"context": _relative(_CHECKOUT, folder), "dockerfile": _DOCKERFILE}}


def _service(request: Request, seat: Seat) -> dict[str, Any]:
    plan = request.plan
    file = Path(plan.topology.file)
    inside = f"/topologies/{file.name}"
    changes = [word for each in request.overrides for word in ("--set", each)]
    engine = elsewhere(plan.topology, engine=True).used == "engine"
    service = {
        "image": IMAGE,
        "hostname": seat.name,
        "init": True,
        "command": [_literal(each) for each in (inside, *changes, "--out", _RUNS)],
        "environment": dict(_environment(plan, seat)),
        "volumes": [
            f"{_relative(file, request.folder)}:{inside}:ro",
            f"{_VOLUME}:{_RUNS}",
            *_data(plan),
        ],
        "networks": [_NETWORK],
        "labels": {RANK_LABEL: str(seat.rank)},
        **(_limits(plan.topology.device(seat.name)) if engine else {}),
    }
    if request.net_admin:
        service |= {"user": "root", "cap_add": ["NET_ADMIN"]}  # a capability is root's in there
    return service


def _environment(plan: Plan, seat: Seat) -> Iterator[tuple[str, str | None]]:
    """torchrun's variables, and ours. None: the value that the caller's environment has."""
    yield "RANK", str(seat.rank)
    yield "WORLD_SIZE", str(len(plan.seats))
    yield "LOCAL_RANK", str(seat.rank)
    yield "LOCAL_WORLD_SIZE", str(len(plan.seats))
    yield "GROUP_RANK", "0"
    yield "MASTER_ADDR", plan.seats[0].name
    yield "MASTER_PORT", str(_PORT)
    yield LAUNCHER, COMPOSE
    yield ADDRESS, seat.name
    yield KEY, None
    if plan.topology.train.data.name not in EMBEDDED:
        yield VARIABLE, "/data"


def _data(plan: Plan) -> Iterator[str]:
    """The folder of the datasets, where one is needed: containers have no way to download."""
    name = plan.topology.train.data.name
    if name not in EMBEDDED:
        yield f"${{{VARIABLE}:?set it to the folder that holds {name}}}:/data:ro"


def _limits(device: Device) -> dict[str, Any]:
    """What the node's device has of cores and memory; nothing for a device like this machine."""
    limits = dict[str, Any]()
    if device.cores is not None:
        limits |= {"cpu_period": _PERIOD_US, "cpu_quota": device.cores * _PERIOD_US}
    if device.memory_bytes is not None:
        memory = f"{device.memory_bytes // 2**20}m"
        limits |= {"mem_limit": memory, "memswap_limit": memory}  # so there is no swap
    return limits


def _relative(path: Path, folder: Path) -> str:
    """As compose wants it: with a dot in front, or it would be the name of a volume."""
    found = os.path.relpath(path.resolve(), folder.resolve())
    return _literal(found if found.startswith(".") else f"./{found}")


def _literal(text: str) -> str:
    """Text in which compose shall find no variables."""
    return text.replace("$", "$$")
