"""What torchrun tells a rank through the environment, and what follows from it."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from edgenet.errors import InputError

KEY = "EDGENET_KEY"
"""Environment variable with the join key of a run that torchrun starts."""

ADDRESS = "EDGENET_ADDRESS"
"""Environment variable: the address or name of this host, where the route to MASTER_ADDR misleads,
and where each rank has its own although they share a host (containers)."""

LAUNCHER = "EDGENET_LAUNCHER"
"""Environment variable: what started the rank with torchrun's variables, if not torchrun."""

DEPLOY = "deploy"
"""The launcher that starts a torchrun on each of several boards."""

COMPOSE = "compose"
"""The launcher that starts each rank in a container."""

_NEEDED = (
    "RANK",
    "WORLD_SIZE",
    "LOCAL_RANK",
    "LOCAL_WORLD_SIZE",
    "GROUP_RANK",
    "MASTER_ADDR",
    "MASTER_PORT",
)


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a rank stands among the others."""

    rank: int
    """0 .. size - 1; its position among the seats."""
    size: int
    """Ranks on all hosts."""
    local_rank: int
    """Position among the ranks of its host."""
    local_size: int
    """Ranks on its host."""
    host: int
    """Position of its host among the hosts."""
    master: tuple[str, int]
    """Host and port of the store."""
    store_stands: bool
    """torchrun's agent serves the store; False: rank 0 has to."""
    run_id: str
    """torchrun's --rdzv-id, and in a store that outlives restarts which of them this is. (Agents
    count for themselves: on several hosts each restart needs a store of its own.)"""
    launcher: str = "torchrun"
    """What started the rank."""

    @property
    def apart(self) -> bool:
        """Whether each rank is alone behind an interface of its own, in a container."""
        return self.launcher == COMPOSE

    @property
    def prefix(self) -> str:
        """Under which the run's keys stand in the store, which others use as well."""
        return f"edgenet/{self.run_id}"


def place(environment: Mapping[str, str]) -> Place:
    """Reads torchrun's variables.

    Raises:
        InputError: they are not there, or no numbers.
    """
    missing = [name for name in _NEEDED if name not in environment]
    if missing:
        raise InputError(
            f"{missing[0]} is not set: start this module with "
            "`torchrun --nproc-per-node N -m edgenet.worker T`"
        )
    rank = _whole(environment, "RANK")
    run_id = environment.get("TORCHELASTIC_RUN_ID", "none")
    store_stands = environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    restart = f"/{_whole(environment, 'TORCHELASTIC_RESTART_COUNT')}" if store_stands else ""
    return Place(
        rank=rank,
        size=_whole(environment, "WORLD_SIZE"),
        local_rank=_whole(environment, "LOCAL_RANK"),
        local_size=_whole(environment, "LOCAL_WORLD_SIZE"),
        host=_whole(environment, "GROUP_RANK"),
        master=(environment["MASTER_ADDR"], _whole(environment, "MASTER_PORT")),
        store_stands=store_stands,
        run_id=f"{run_id}{restart}",
        launcher=environment.get(LAUNCHER, "torchrun"),
    )


def _whole(environment: Mapping[str, str], name: str) -> int:
    text = environment.get(name, "0")
    if not text.isdecimal():
        raise InputError(f"{name} is '{text}'; torchrun sets it to a whole number")
    return int(text)


def check_size(where: Place, seats: int, file: str) -> None:
    """Raises InputError unless there are as many ranks as seats."""
    if where.size != seats:
        raise InputError(
            f"{file}: {seats} nodes have a role, but torchrun started {where.size} ranks; "
            f"use --nproc-per-node {seats} on one host (on several, {seats} in total)"
        )


def check_names(names: Sequence[str], seats: Sequence[str]) -> None:
    """Raises InputError unless the ranks play each of the seats once.

    Args:
        names: the node of each rank.
        seats: the nodes that have a role.
    """
    for name in names:
        if name not in seats:
            raise InputError(
                f"--nodes names '{name}', which has no role; nodes are {', '.join(seats)}"
            )
    missing = [seat for seat in seats if seat not in names]
    if missing:
        raise InputError(f"no host plays {', '.join(missing)}; name each node on one host, once")


def join_key(environment: Mapping[str, str], where: Place) -> tuple[bytes, str | None]:
    """The run's join key, and a warning if others on this host could have guessed it.

    Raises:
        InputError: there is none, and ranks on several hosts.
    """
    secret = environment.get(KEY)
    if secret:
        return hashlib.sha256(f"edgenet join key\0{secret}".encode()).digest(), None
    if where.local_size != where.size:
        raise InputError(
            f"{KEY} is not set, and without it anybody on the network could take part: make a key "
            f"with `openssl rand -hex 32` and set {KEY} to it on every host"
        )
    guessable = f"edgenet run id\0{where.run_id}".encode()
    return hashlib.sha256(guessable).digest(), (
        f"warning: the join key comes from torchrun's run id, which is no secret; set {KEY} to "
        "the same secret on every host"
    )


def address(environment: Mapping[str, str], where: Place) -> str:
    """The address under which peers reach this host: loopback where all ranks share the host.

    Raises:
        InputError: this host knows itself by a loopback address only, or EDGENET_ADDRESS is a name
            that it does not know.
    """
    if environment.get(ADDRESS):
        return numbers(environment[ADDRESS], ADDRESS)
    if where.local_size == where.size:
        return "127.0.0.1"
    family, kind, protocol, _, target = socket.getaddrinfo(*where.master, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.connect(target)  # a datagram socket sends nothing, it only looks up the route
        found: str = probe.getsockname()[0]
    asked = where.master[0]
    if ip_address(found).is_loopback and not (asked == "localhost" or _is_loopback(asked)):
        raise InputError(
            f"'{asked}' is a loopback address on this host, which others cannot reach; set "
            f"{ADDRESS} to the address by which they can"
        )
    return found


def numbers(name: str, given: str) -> str:
    """The address behind a name, IPv4 where there is one; an address is its own.

    Args:
        name: an address or a host's name.
        given: where the user wrote it, for the message.

    Raises:
        InputError: this host does not know the name.
    """
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise InputError(
            f"{given} is '{name}', which this host cannot resolve ({error.strerror}); set it to "
            "the address by which the others reach this host"
        ) from None
    numbers: list[str] = [str(sockaddr[0]) for *_, sockaddr in found]
    return next((each for each in numbers if ":" not in each), numbers[0])


def _is_loopback(text: str) -> bool:
    try:
        return ip_address(text).is_loopback
    except ValueError:
        return False
