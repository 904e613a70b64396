"""`edgenet deploy --wireguard`: a tunnel between every two boards, for the time of a run."""

from __future__ import annotations

import random
import secrets
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from edgenet.errors import InputError
from edgenet.launchers.boards.hosts import Board
from edgenet.launchers.boards.prepare import all_well, everywhere
from edgenet.launchers.boards.reach import Reach
from edgenet.launchers.boards.wires import BoardError, Talk
from edgenet.launchers.supervisor import StopSignals

MOST = 254
_S = 60.0


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

        def make(board: Board) -> tuple[Talk, str, str]:
            address = f"{inside[board.name]}/24"
            call = reach.ask(board, do="tunnel", name=name, address=address)
            calls.callback(call.close)  # which removes it
            said = call.hear("public", _S)
            host = f"[{board.address}]" if ":" in board.address else board.address
            return call, said["public"], f"{host}:{said['port']}"

        ends = everywhere(boards, make, stop, reach)
        all_well(ends, "make a tunnel")
        made = {name: end for name, end in ends.items() if not isinstance(end, BoardError)}

        def join(board: Board) -> None:
            peers = [
                {"public": public, "endpoint": endpoint, "address": f"{inside[peer]}/32"}
                for peer, (_, public, endpoint) in made.items()
                if peer != board.name
            ]
            call = made[board.name][0]
            call.wire.send(peers=peers)
            call.hear("stands", _S)

        all_well(everywhere(boards, join, stop, reach), "make a tunnel")
        yield tuple(replace(board, address=inside[board.name]) for board in boards)
