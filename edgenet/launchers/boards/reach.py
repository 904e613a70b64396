"""By which way each board is reached: ssh, or its agent."""

from __future__ import annotations

import secrets
from dataclasses import asdict

from edgenet.errors import InputError
from edgenet.launchers.boards.hosts import Board
from edgenet.launchers.boards.runner import Order
from edgenet.launchers.boards.sealed import AgentCall, run_key
from edgenet.launchers.boards.ssh import Ssh
from edgenet.launchers.boards.wires import Talk


class Reach:
    """The conversations of one deployment.

    Args:
        ssh: entered.
        cluster: the cluster's key, for boards with an agent.
    """

    def __init__(self, ssh: Ssh, cluster: bytes | None) -> None:
        self.ssh, self._cluster = ssh, cluster
        self._salt = secrets.token_hex(16)
        self._talks: list[Talk] = []

    def key(self) -> str:
        """A join key for the run; agents make the same from the cluster's."""
        if self._cluster is None:
            return secrets.token_hex(32)
        return run_key(self._cluster, self._salt)

    def hostname(self, board: Board) -> str:
        """The name or address by which a board is reached."""
        return board.agent.rpartition(":")[0].strip("[]") or self.ssh.hostname(board)

    def ask(self, board: Board, **order: str) -> Talk:
        """Begin with an order of `onboard`.

        Raises:
            BoardError: nobody answers there.
        """
        if not board.agent:
            return self._kept(self.ssh.onboard(board, **order))
        return self._kept(self._call(board, **order))

    def run(self, board: Board, line: str, order: Order) -> Talk:
        """Begin a run.

        Args:
            board: where.
            line: of shell, that starts the runner where there is no agent.
            order: for it. To an agent the key is not sent, but what it makes it from.
        """
        if not board.agent:
            talk: Talk = self.ssh.start(board, line)
            talk.wire.send(do="run", **asdict(order))
            return self._kept(talk)
        fields = {**asdict(order), "key": "", "salt": self._salt}
        return self._kept(self._call(board, do="run", **fields))

    def tell(self, board: Board, line: str, run: str) -> Talk:
        """Ask what is saved on a board of a run.

        Args:
            board: which.
            line: as for `run`.
            run: what the deployment calls it.
        """
        order = {"do": "tell", "run": board.run(run), "nodes": board.nodes}
        if board.agent:
            return self._kept(self._call(board, **order))
        talk: Talk = self.ssh.start(board, line)
        talk.wire.send(**order)
        return self._kept(talk)

    def abort(self) -> None:
        """End all of them at once: whoever waits for one hears that it ended."""
        for talk in self._talks:
            talk.kill()

    def _kept(self, talk: Talk) -> Talk:
        self._talks.append(talk)
        return talk

    def _call(self, board: Board, **order: object) -> Talk:
        if self._cluster is None:
            raise InputError(
                f"{board.where}: host '{board.name}' is reached by its agent; give the cluster's "
                "key by --key-file"
            )
        call = AgentCall(board, self._cluster)
        call.wire.send(**order)
        return call
