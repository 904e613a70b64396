"""`edgenet deploy`: a topology on boards, by torchrun on each of them."""

from __future__ import annotations

import json
import secrets
import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgenet.errors import DONE, INTERRUPTED, NODE_FAILED, InputError
from edgenet.launchers import resuming, shaping
from edgenet.launchers.blame import end_of, verdict
from edgenet.launchers.boards.earlier import earlier
from edgenet.launchers.boards.fleet import Fleet, Post, about, log_of
from edgenet.launchers.boards.hosts import Board, load_hosts
from edgenet.launchers.boards.prepare import Goods, addressed, inspect, install
from edgenet.launchers.boards.reach import Reach
from edgenet.launchers.boards.runner import Order
from edgenet.launchers.boards.sealed import read_key
from edgenet.launchers.boards.ssh import Ssh
from edgenet.launchers.boards.tunnels import tunnelled
from edgenet.launchers.boards.wheel import build
from edgenet.launchers.machinery import facts as facts_of
from edgenet.launchers.outcome import Outcome
from edgenet.launchers.policy import End
from edgenet.launchers.record import Record
from edgenet.launchers.supervisor import StopSignals
from edgenet.launchers.torchrun import DEPLOY
from edgenet.node.plan import Plan, resolve
from edgenet.results.rundir import RunDir, new_run_dir
from edgenet.results.write import write_all
from edgenet.topology import dump, load
from edgenet.units import format_bytes


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to run, and where."""

    path: Path
    """The topology file."""
    hosts: Path
    """hosts.yaml."""
    overrides: tuple[str, ...] = ()
    """'path.to.key=value', applied in order."""
    out: Path = Path("runs")
    """The run's folder is made in here."""
    check_only: bool = False
    """Check the boards and end."""
    bundle: Path | None = None
    """A folder with wheels of all that edgenet needs."""
    index: str = ""
    """A further index for pip."""
    key_file: Path | None = None
    """Holds the cluster's secret, for boards with an agent."""
    wireguard: bool = False
    """All links go through tunnels that are made for the run."""
    ssh: str = "ssh"
    """The client, with options."""
    restarts: int = 0
    """How often all nodes are started again after a failure."""
    resume: Path | None = None
    """The folder of a run that is to go on; `path` may be its topology.yaml."""


class Deployment:
    """One topology on boards.

    Args:
        say: takes lines for the user.
        tell: takes (board's name, line) of what is printed on the boards.
    """

    def __init__(self, say: Callable[[str], None], tell: Callable[[str, str], None]) -> None:
        self._say, self._tell = say, tell

    def run(self, request: Request) -> Outcome | None:
        """Check, install, run and gather, and again after a failure as often as is wanted; None
        where only the check was asked for.

        Raises:
            InputError: before anything was installed or started anywhere.
            NodeError: an installation failed.
            Interrupted: before any node was started.
        """
        outcome = self._once(request)
        for number in range(1, request.restarts + 1):
            if outcome is None or outcome.exit_code != NODE_FAILED:
                break
            self._say(f"{outcome.error}; it is started again ({number} of {request.restarts})")
            again = self._again(request, outcome.run)
            if again is None:
                break
            outcome = again
        return outcome

    def _again(self, request: Request, run: RunDir) -> Outcome | None:
        """Go on with a run that failed or, where that cannot be, run it anew; None if that cannot
        be either."""
        on = replace(request, path=run.topology, overrides=(), resume=run.path)
        for each in (on, replace(request, resume=None)):
            try:
                return self._once(each)
            except InputError as error:
                self._say(str(error))
        return None

    def _once(self, request: Request) -> Outcome | None:
        goods = _goods(request)
        topology = load(request.path, request.overrides)
        shaping.check_still(topology)
        plan = resolve(topology)
        boards = load_hosts(request.hosts, topology, [seat.name for seat in plan.seats])
        cluster = None if request.key_file is None else read_key(request.key_file)
        with (
            resuming.taken(request.resume, deployed=True),
            StopSignals() as stop,
            Ssh(shlex.split(request.ssh)) as ssh,
            ExitStack() as tunnels,
        ):
            resumed = request.resume and earlier(request.resume, plan, boards)
            reach = Reach(ssh, cluster)
            boards = addressed(boards, reach)
            facts = inspect(boards, goods, reach, stop, resumed.name if resumed else "")
            for board in boards:
                self._say(_described(board, facts[board.name]))
            if request.check_only:
                return None
            fresh = install(boards, facts, goods, reach, stop)
            self._say(f"installed on {', '.join(fresh)}" if fresh else "installed already")
            if request.wireguard:
                boards = tunnels.enter_context(tunnelled(boards, reach, stop))
                facts = inspect(boards, goods, reach, stop)
                self._say("WireGuard stands between all boards")
            ready = _Ready(boards, facts, goods, secrets.token_hex(8))
            if resumed:
                after = resumed.after(plan, boards, ready.start, reach, stop)
                ready = replace(ready, name=resumed.name, after=after)
            return self._carry(plan, request, ready, reach, stop)

    def _carry(
        self, plan: Plan, request: Request, ready: _Ready, reach: Reach, stop: StopSignals
    ) -> Outcome:
        run, record = self._begin(plan, request, ready)
        essential = {seat.name for seat in plan.seats if seat.essential}
        with ExitStack() as talks:
            talks.enter_context(resuming.held(run.path))
            posts = []
            for board, order in zip(ready.boards, _orders(plan, ready, reach.key()), strict=True):
                talk = talks.enter_context(reach.run(board, ready.start(board), order))
                needed = not essential.isdisjoint(board.nodes)
                posts.append(Post(board=board, line=talk, essential=needed))
            fleet = Fleet(posts, run, stop, self._keep_log(run))
            fleet.watch()
            outcome = _outcome(plan, run, record, fleet)
            if outcome.exit_code == DONE:
                fleet.forget()
        return outcome

    def _begin(self, plan: Plan, request: Request, ready: _Ready) -> tuple[RunDir, Record]:
        back_end = shaping.choose(plan.topology.shaping, plan.topology, namespaces=False)
        if request.resume is None:
            run = new_run_dir(request.out, plan.topology.name)
            run.topology.write_text(dump(plan.topology), encoding="utf-8")
        else:
            run, of = RunDir(request.resume), plan.topology.train.rounds
            self._say(f"{run.path}: goes on after round {ready.after} of {of}")
        record = Record(run, plan.topology, plan.seats, back_end, DEPLOY, ready.after)
        told = {
            board.name: {**_kept(ready.facts[board.name]), "nodes": board.nodes}
            for board in ready.boards
        }
        more = {"deployment": ready.name, "boards": told, "wireguard": request.wireguard}
        record.write(**more, **facts_of(plan))
        return run, record

    def _keep_log(self, run: RunDir) -> Callable[[str, str], None]:
        def tell(board: str, line: str) -> None:
            path = log_of(run, board)
            path.parent.mkdir(exist_ok=True)
            with path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
            self._tell(board, line)

        return tell


@dataclass(frozen=True)
class _Ready:
    boards: Sequence[Board]
    facts: Mapping[str, Mapping[str, Any]]
    goods: Goods
    name: str
    """What the boards know the run by."""
    after: int = 0

    def start(self, board: Board) -> str:
        """The line of shell that starts the runner, in a folder that holds no other edgenet."""
        folder = f'"$HOME/.edgenet/{self.goods.environment(board)}"'
        return f"cd {folder} && exec bin/python -m edgenet.launchers.boards.runner"


def _goods(request: Request) -> Goods:
    if request.bundle is not None and not any(request.bundle.glob("*.whl")):
        raise InputError(
            f"{request.bundle}: holds no wheels; fill it by `pip download --dest "
            f"{request.bundle} torch torchvision ...` for the boards' platform (docs/boards.md)"
        )
    return Goods(wheel=build(), bundle=request.bundle, index=request.index)


def _described(board: Board, facts: Mapping[str, Any]) -> str:
    has = [f"Python {'.'.join(map(str, facts['python']))}", facts["machine"]]
    if facts["torch"]:
        has.append(f"torch {facts['torch']}")
    if facts["memory_bytes"] is not None:
        has.append(f"{format_bytes(facts['memory_bytes'])} of memory")
    return f"{board.name} ({board.address}: {', '.join(has)}) carries {', '.join(board.nodes)}"


def _kept(facts: Mapping[str, Any]) -> dict[str, Any]:
    names = ("python", "machine", "system", "cpus", "torch", "memory_bytes")
    return {name: facts[name] for name in names}


def _orders(plan: Plan, ready: _Ready, key: str) -> list[Order]:
    boards = ready.boards
    master = boards[0].address, ready.facts[boards[0].name]["port"]
    code = None if plan.code is None else (plan.code.file, plan.code.content.decode())
    return [
        Order(
            topology=dump(plan.topology),
            code=code,
            nodes=board.nodes,
            host=number,
            hosts=len(boards),
            master=master,
            address=board.address,
            key=key,
            data=board.data,
            run=board.run(ready.name),
            resume=ready.after,
        )
        for number, board in enumerate(boards)
    ]


def _outcome(plan: Plan, run: RunDir, record: Record, fleet: Fleet) -> Outcome:
    ends: dict[str, End] = {}
    for seat in plan.seats:
        end = end_of(run.events(seat.name))
        if end is not None:
            ends[seat.name] = end
    code, error = verdict(plan.seats, run, ends, f"the logs in {run.path / 'boards'}")
    lost = [post for post in fleet.posts if post.lost is not None]
    if code != DONE and lost:
        which = lost[0]
        error = (
            f"board '{which.board.name}' was lost with {', '.join(which.board.nodes)}: "
            f"{which.lost}; what the others had computed is in {run.path}"
        )
    elif code != DONE and fleet.interrupted:
        code, error = INTERRUPTED, f"interrupted; what was computed is in {run.path}"
    record.write(**_found(about(run, fleet.posts[0].board.name)))
    record.finish(code, error, ends)
    return Outcome(run=run, summary=write_all(run), exit_code=code, error=error)


def _found(path: Path) -> dict[str, Any]:
    """What only rank 0 could know."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {key: told[key] for key in ("host_flops", "probe") if key in told}
