"""Before a run: every board checked, then edgenet installed where it is missing, on all or none."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TypeVar

from edgenet.errors import InputError, Interrupted, NodeError
from edgenet.launchers.boards.checks import complaints
from edgenet.launchers.boards.hosts import PRESENT, Board
from edgenet.launchers.boards.reach import Reach
from edgenet.launchers.boards.ssh import Call
from edgenet.launchers.boards.wheel import Wheel
from edgenet.launchers.boards.wires import BoardError, Talk
from edgenet.launchers.supervisor import StopSignals
from edgenet.launchers.torchrun import numbers

T = TypeVar("T")
_CHECK_S = 60.0
_INSTALL_S = 1800.0
"""torch is large, and a board's card is slow."""


@dataclass(frozen=True, kw_only=True)
class Goods:
    """What is installed."""

    wheel: Wheel
    """edgenet."""
    bundle: Path | None = None
    """A folder of wheels of all that it needs; None: pip asks its index."""
    index: str = ""
    """A further index for pip, such as torch's own."""

    def environment(self, board: Board) -> str:
        """The name of its environment on a board: another one whenever anything differs."""
        how = hashlib.sha256(f"{board.python}\0{board.packages}".encode()).hexdigest()[:6]
        return f"{self.wheel.digest}-{how}"


def everywhere(
    boards: Sequence[Board], work: Callable[[Board], T], stop: StopSignals, reach: Reach
) -> dict[str, T | BoardError]:
    """Do something for all boards at once: each one's result, or why there is none.

    Raises:
        Interrupted: the user stopped it; the programs on the boards have been ended.
    """

    def one(board: Board) -> T | BoardError:
        try:
            return work(board)
        except BoardError as error:
            return error

    with ThreadPoolExecutor(len(boards)) as pool:
        futures = {board.name: pool.submit(one, board) for board in boards}
        while wait(futures.values(), timeout=0.2).not_done:
            if stop.count:
                reach.abort()
                raise Interrupted("interrupted before anything was started")
        return {name: future.result() for name, future in futures.items()}


def addressed(boards: Sequence[Board], reach: Reach) -> tuple[Board, ...]:
    """The boards with their addresses in numbers.

    Raises:
        InputError: a name that nobody knows, or an address that means something else elsewhere.
    """
    found = []
    for board in boards:
        name = board.address or reach.hostname(board)
        number = numbers(name, f"{board.where}: host '{board.name}'")
        if ip_address(number).is_loopback and len(boards) > 1:
            raise InputError(
                f"{board.where}: host '{board.name}' has the address {number}, which the others "
                "cannot reach; write the one that they can as `address:`"
            )
        found.append(replace(board, address=number))
    return tuple(found)


def inspect(
    boards: Sequence[Board], goods: Goods, reach: Reach, stop: StopSignals, run: str = ""
) -> dict[str, Mapping[str, Any]]:
    """What each board is and has; its folder of `run`, if that is to go on.

    Raises:
        InputError: boards that cannot take part, each named, and what would help.
    """
    with ExitStack() as calls:

        def ask(board: Board) -> tuple[Talk, Mapping[str, Any], float]:
            name, before = goods.environment(board), time.time()
            call = reach.ask(
                board, do="check", name=name, address=board.address, run=board.run(run)
            )
            calls.callback(call.close)
            facts = call.hear("port", _CHECK_S)
            # Its clock was read between these two: only what lies outside is off for sure.
            early, late = facts["time"] - before, facts["time"] - time.time()
            return call, facts, min(early, 0.0) + max(late, 0.0)

        told = everywhere(boards, ask, stop, reach)
        wrong = [*_unfit(boards, told, goods, run)]
        if not wrong:
            wrong = _apart(boards, told, stop, reach)
    if wrong:
        raise InputError("\n  ".join([*wrong, "nothing was installed or started anywhere"]))
    return {name: each[1] for name, each in told.items() if not isinstance(each, BoardError)}


Told = Mapping[str, "tuple[Talk, Mapping[str, Any], float] | BoardError"]


def _unfit(boards: Sequence[Board], told: Told, goods: Goods, run: str) -> list[str]:
    wrong = []
    for board in boards:
        found = told[board.name]
        if isinstance(found, BoardError):
            wrong.append(_unreachable(board, str(found)))
        else:
            _, facts, offset_s = found
            said = complaints(board, facts, offset_s, goods.wheel.digest, board.run(run))
            wrong += [f"board '{board.name}' {each}" for each in said]
    return wrong


def _unreachable(board: Board, why: str) -> str:
    if why.startswith("Python "):
        old = " ".join(why.split()[:2])
        return (
            f"board '{board.name}' has {old} as {board.python}; edgenet needs 3.10 or newer: name "
            "one as `python:`"
        )
    if why.endswith("(ssh ended with 127)"):
        return f"board '{board.name}' has no {board.python}; name its interpreter as `python:`"
    remedy = "" if board.agent else f"; try `ssh {board.ssh}` by hand"
    return f"board '{board.name}' cannot be used: {why}{remedy}"


def _apart(boards: Sequence[Board], told: Told, stop: StopSignals, reach: Reach) -> list[str]:
    """Which boards cannot reach which."""
    calls = {name: each for name, each in told.items() if not isinstance(each, BoardError)}
    peers = [
        {"name": each.name, "address": each.address, "port": calls[each.name][1]["port"]}
        for each in boards
    ]

    def try_all(board: Board) -> Mapping[str, Any]:
        call = calls[board.name][0]
        call.wire.send(peers=[peer for peer in peers if peer["name"] != board.name])
        return call.hear("unreached", _CHECK_S)

    wrong = []
    for name, found in everywhere(boards, try_all, stop, reach).items():
        if isinstance(found, BoardError):
            wrong.append(f"board '{name}': {found}")
            continue
        for peer, why in found["unreached"].items():
            to = next(each["address"] for each in peers if each["name"] == peer)
            wrong.append(
                f"board '{name}' cannot reach '{peer}' at {to} ({why}); boards must reach each "
                "other at all ports: open their firewalls to each other, or write another address"
            )
    return wrong


def install(
    boards: Sequence[Board],
    facts: Mapping[str, Mapping[str, Any]],
    goods: Goods,
    reach: Reach,
    stop: StopSignals,
) -> list[str]:
    """Install where it is not yet; returns those boards' names.

    Raises:
        NodeError: it failed somewhere, and was undone everywhere.
    """
    missing = [board for board in boards if not facts[board.name]["present"]]
    if not missing:
        return []
    files = sorted(goods.bundle.glob("*.whl")) if goods.bundle is not None else []
    with ExitStack() as calls:

        def stage(board: Board) -> Call:
            call = reach.ssh.onboard(board, **_shipment(board, goods, files))
            calls.callback(call.close)  # which undoes what was not committed
            call.pour(goods.wheel.content)
            for path in files:
                call.pour(path)
            call.hear("staged", _INSTALL_S)
            return call

        def commit(board: Board) -> Mapping[str, Any]:
            call = staged[board.name]
            assert isinstance(call, Call)
            call.wire.send(do="commit")
            return call.hear("installed", _CHECK_S)

        staged = everywhere(missing, stage, stop, reach)
        all_well(staged, "install")
        all_well(everywhere(missing, commit, stop, reach), "install")
    return [board.name for board in missing]


def _shipment(board: Board, goods: Goods, files: Sequence[Path]) -> dict[str, Any]:
    return {
        "do": "install",
        "name": goods.environment(board),
        "wheel": len(goods.wheel.content),
        "bundle": [[path.name, path.stat().st_size] for path in files],
        "present": board.packages == PRESENT,
        "requirements": goods.wheel.requirements,
        "index": goods.index,
    }


def all_well(results: Mapping[str, object], what: str) -> None:
    """Raises NodeError where a board could not do `what`."""
    wrong = [f"board '{name}': {each}" for name, each in results.items() if _bad(each)]
    if wrong:
        told = [f"cannot {what} on {wrong[0]}", *wrong[1:], "nothing is left half-done"]
        raise NodeError("\n  ".join(told))


def _bad(result: object) -> bool:
    return isinstance(result, BoardError)
