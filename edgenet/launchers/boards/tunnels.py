"""`edgenet deploy --wireguard`: a tunnel between every two boards, for the time of a run."""

from __future__ import annotations

import random
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from edgenet.errors import InputError
from edgenet.launchers.boards.hosts import Board
from edgenet.launchers.boards.prepare import all_well, everywhere
from edgenet.launchers.boards.reach import Reach
from edgenet.launchers.boards.wires import BoardError, Talk
from edgenet.launchers.supervisor import StopSignals

MOST = 254
_S = 60.0


@dataclass(frozen=True)
class _End:
    """One board's, of all its tunnels."""

    call: Talk
    public: str
    """Its key."""
    endpoint: str
    """Where it is called, over the outer network."""
    address: str
    """Inside."""


@contextmanager
def tunnelled(
    boards: Sequence[Board], reach: Reach, stop: StopSignals
) -> Iterator[tuple[Board, ...]]:
    """The boards with their addresses inside, while the tunnels stand.

    Raises:
        InputError: a board is reached by its agent, or there are too many.
        NodeError: a board cannot make its end.
    """
    agents = [board.name for board in boards if board.agent]
    if agents or len(boards) > MOST:
        why = f"'{agents[0]}' is reached by its agent" if agents else f"{len(boards)} boards"
        raise InputError(f"--wireguard: {why}; tunnels are made over ssh, for up to {MOST} boards")
    net = f"10.{random.SystemRandom().randrange(64, 192)}.{secrets.randbelow(256)}"
    inside = {board.name: f"{net}.{number}" for number, board in enumerate(boards, 1)}
    name = f"edgenet-{secrets.token_hex(3)}"  # an interface's name has 15 characters
    with ExitStack() as calls:

        def make(board: Board) -> _End:
            address = inside[board.name]
            call = reach.ask(board, do="tunnel", name=name, address=f"{address}/24")
            calls.callback(call.close)  # which removes it
            said = call.hear("public", _S)
            host = f"[{board.address}]" if ":" in board.address else board.address
            return _End(call, said["public"], f"{host}:{said['port']}", f"{address}/32")

        ends = everywhere(boards, make, stop, reach)
        all_well(ends, "make a tunnel")
        made = {name: end for name, end in ends.items() if not isinstance(end, BoardError)}

        def introduce(board: Board) -> None:
            call = made[board.name].call
            call.wire.send(peers=_peers(made, board.name))
            call.hear("knows", _S)

        def shake_hands(board: Board) -> None:
            call = made[board.name].call
            call.wire.send(do="call")
            call.hear("stands", _S)

        for step in (introduce, shake_hands):
            all_well(everywhere(boards, step, stop, reach), "make a tunnel")
        yield tuple(replace(board, address=inside[board.name]) for board in boards)


def _peers(made: Mapping[str, _End], name: str) -> list[dict[str, Any]]:
    """What a board is told of the others.

    Of two boards one calls: where both do at once, each may drop the other's call, and neither
    calls again for 5 s.
    """
    order = list(made)
    return [
        {
            **{"name": peer, "public": end.public, "endpoint": end.endpoint},
            **{"address": end.address, "calls": order.index(name) < order.index(peer)},
        }
        for peer, end in made.items()
        if peer != name
    ]
