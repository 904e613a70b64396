"""`edgenet deploy --resume`: a run whose checkpoints lie on its boards."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgenet.errors import InputError
from edgenet.launchers import resuming
from edgenet.launchers.boards.hosts import Board
from edgenet.launchers.boards.prepare import everywhere
from edgenet.launchers.boards.reach import Reach
from edgenet.launchers.boards.wires import BoardError
from edgenet.launchers.supervisor import StopSignals
from edgenet.meters.checkpoints import Told, common_of
from edgenet.node.plan import Plan
from edgenet.results.rundir import RunDir
from edgenet.topology import dump

_TELL_S = 120.0
"""Checkpoints are read whole, for their digests."""


@dataclass(frozen=True)
class Earlier:
    """A run that is to go on."""

    run: RunDir
    """Its folder here."""
    name: str
    """What its boards know it by."""

    def after(
        self,
        plan: Plan,
        boards: Sequence[Board],
        line: Callable[[Board], str],
        reach: Reach,
        stop: StopSignals,
    ) -> int:
        """The newest round that all nodes can go on after, by what the boards say.

        Args:
            plan: the run.
            boards: they have their folders of it.
            line: of shell, that starts the runner there.
            reach: to them.
            stop: the user's.

        Raises:
            InputError: there is none, or a board cannot tell.
        """

        def ask(board: Board) -> Mapping[str, Told]:
            with reach.tell(board, line(board), self.name) as talk:
                holds = talk.hear("holds", _TELL_S)["holds"]
            try:
                return {
                    node: Told(f"board '{board.name}', {node}", holds.get(node) or _NOTHING)
                    for node in board.nodes
                }
            except (AttributeError, ValueError) as error:
                raise BoardError(str(error)) from None

        shelves: dict[str, Told] = {}
        for board, told in everywhere(boards, ask, stop, reach).items():
            if isinstance(told, BoardError):
                raise InputError(f"board '{board}' cannot go on with {self.run.path}: {told}")
            shelves |= told
        common = common_of({seat: shelves[seat.name] for seat in plan.seats})
        return resuming.checked(self.run, common).round


_NOTHING: Mapping[str, object] = {"begun": [], "files": {}}


def earlier(path: Path, plan: Plan, boards: Sequence[Board]) -> Earlier:
    """The run in a folder, if this topology and these boards can go on with it.

    Raises:
        InputError: they cannot.
    """
    run = RunDir(path)
    about = run.run()
    name, dealt = about.get("deployment"), about.get("boards")
    if not isinstance(name, str) or not isinstance(dealt, Mapping):
        raise InputError(f"{path}: was not deployed; resume it with `edgenet run --resume {path}`")
    resuming.same(run, dump(plan.topology), plan.digest.hex(), Path(plan.topology.file))
    for board in boards:
        before = dealt.get(board.name, {}).get("nodes", [])
        if list(board.nodes) != list(before):
            had = f"carried {', '.join(before)}" if before else "was not there"
            raise InputError(
                f"{board.where}: host '{board.name}' carries {', '.join(board.nodes)}, but in "
                f"{path} it {had}; their checkpoints lie where they were, so deal them as then"
            )
    return Earlier(run, name)
