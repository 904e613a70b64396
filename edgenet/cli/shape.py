"""Shape this host's own interface, as the topology has it between one node and its peers.

    edgenet shape apply T --node cam0 --hosts hosts.yaml     on the board that is cam0
    edgenet shape show
    edgenet shape clear                                      put back what was there before

What leaves for each peer is queued by its address; all else passes at once. Every end shapes what
it sends, so run it on each board; --ingress also queues here what comes from the peers, for peers
on which nothing can be run. It needs root (CAP_NET_ADMIN) and, for delay, jitter and loss, a kernel
with sch_netem. hosts.yaml holds a line `name: address` for each node, or is
that of `edgenet deploy`, with every address and name written out.
"""

from __future__ import annotations

import argparse
import json
import socket
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from edgenet.cli import arguments
from edgenet.cli.run import say
from edgenet.cli.tables import console, table
from edgenet.errors import DONE, InputError, ShapingError
from edgenet.results.rundir import finite
from edgenet.shaping.choice import NET_ADMIN, capabilities
from edgenet.topology import load
from edgenet.units import format_fraction, format_rate, format_time

if TYPE_CHECKING:
    from edgenet.shaping.remembered import Remembered
    from edgenet.topology.spec import Channel

HELP = "shape this host's own interface (a board, a container)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    actions = parser.add_subparsers(metavar="ACTION", required=True, parser_class=type(parser))
    add = actions.add_parser("apply", help="shape, and remember what was there")
    arguments.add_topology(add)
    add.add_argument("--node", required=True, metavar="NAME", help="the node that this host is")
    add.add_argument("--hosts", type=Path, metavar="FILE", help="YAML: name: address, of any nodes")
    add.add_argument(
        "--peer", action="append", default=[], metavar="NAME=ADDRESS", help="one more (repeatable)"
    )
    add.add_argument("--ingress", action="store_true", help="also queue what comes from the peers")
    add.add_argument(
        "--rate-only",
        action="store_true",
        help="limit rates and leave delay, jitter and loss out, for kernels without sch_netem",
    )
    show = actions.add_parser("show", help="what is applied in this network namespace")
    arguments.add_format(show, "a list of what is applied")
    clear = actions.add_parser("clear", help="put back what was there before")
    for action, default in ((add, "that towards the first peer"), (clear, "all"), (show, "all")):
        action.add_argument("--interface", metavar="DEV", help=f"which one (default: {default})")
    for action, does in ((add, _apply), (show, _show), (clear, _clear)):
        action.set_defaults(act=does)


def execute(options: argparse.Namespace) -> int:
    """Carry out the action."""
    code: int = options.act(options)
    return code


def _apply(options: argparse.Namespace) -> int:
    from edgenet.shaping import own
    from edgenet.shaping.remembered import FOLDER

    topology = load(options.topology, arguments.overrides(options))
    found = own.ways(topology, options.node, addresses(options.hosts, options.peer))
    _require_right()
    wish = own.Wish(
        device=options.interface or own.device_towards(found[0].address),
        node=options.node,
        ways=found,
        rate_only=options.rate_only,
        ingress=options.ingress,
    )
    record = own.apply(wish, FOLDER)
    _print([record])
    return DONE


def _show(options: argparse.Namespace) -> int:
    found = _applied(options.interface)
    if options.format == "json":
        shown = [asdict(each) for each in found]
        for each in shown:
            each["queue"] = None if each["queue"] is None else each["queue"]["kind"]
        print(json.dumps(finite(shown), indent=2))
    elif not found:
        print("Nothing is applied here.")
    else:
        _print(found)
    return DONE


def _clear(options: argparse.Namespace) -> int:
    from edgenet.shaping import own
    from edgenet.shaping.remembered import FOLDER

    found = _applied(options.interface)
    if options.interface is not None and not found:
        raise ShapingError(
            f"nothing is applied to '{options.interface}' here; see edgenet shape show"
        )
    _require_right()
    for each in found:
        own.clear(each.device, FOLDER)
        say(f"{each.device} is as it was: {each.queue or 'the queue that the kernel gives it'}")
    if not found:
        print("Nothing is applied here.")
    return DONE


def addresses(hosts: Path | None, peers: list[str]) -> dict[str, str]:
    """IPv4 addresses by node, from a hosts file and NAME=ADDRESS words.

    Raises:
        InputError: one that is neither, or a host that has no IPv4 address.
    """
    given: dict[str, Any] = {} if hosts is None else _read(hosts)
    for word in peers:
        name, equals, address = word.partition("=")
        if not (name and equals and address):
            raise InputError(f"--peer {word}: write NAME=ADDRESS, like cam0=192.168.1.20")
        given[name] = address
    return {name: _resolved(name, address) for name, address in given.items()}


def _read(path: Path) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(f"{path}: cannot be read as YAML ({reason})") from None
    if isinstance(tree, dict) and isinstance(tree.get("hosts"), dict):
        tree = tree["hosts"]
    if not isinstance(tree, dict):
        raise InputError(f"{path}: is no mapping; write a line `name: address` for each node")
    found: dict[str, Any] = {}
    for name, entry in tree.items():
        if not isinstance(entry, dict):
            found[str(name)] = entry
            continue
        nodes = entry.get("nodes", name)  # a board of `edgenet deploy` says which it carries
        for node in nodes if isinstance(nodes, list) else [nodes]:
            found[str(node)] = entry.get("address")
    return found


def _resolved(name: str, address: Any) -> str:
    try:
        return socket.gethostbyname(str(address))
    except (OSError, UnicodeError):
        raise InputError(f"{name}: '{address}' is no IPv4 address and no host's name") from None


def _applied(device: str | None) -> list[Remembered]:
    from edgenet.shaping.remembered import all_here

    return [each for each in all_here() if device in (None, each.device)]


def _require_right() -> None:
    if not capabilities() >> NET_ADMIN & 1:
        raise ShapingError(
            "this process lacks CAP_NET_ADMIN; run it as root (in a container: --cap-add NET_ADMIN)"
        )


def _print(found: list[Remembered]) -> None:
    columns = ("interface", "way", "address", "rate", "delay", "jitter", "loss")
    rows = [row for each in found for row in _rows(each)]
    console().print(table(columns, rows))


def _rows(record: Remembered) -> Iterator[tuple[str, ...]]:
    for peer, address, there, back in record.ways:
        directions = [(f"{record.node} -> {peer}", there)]
        directions += [(f"{peer} -> {record.node}", back)] if record.ifb else []
        for name, channel in directions:
            yield (record.device, name, address, *_figures(channel, record.rate_only))


def _figures(channel: Channel, rate_only: bool) -> tuple[str, ...]:
    rate = format_rate(channel.rate_bps)
    if rate_only:
        return rate, "-", "-", "-"
    times = format_time(channel.delay_s), format_time(channel.jitter_s)
    return (rate, *times, format_fraction(channel.loss))
