"""Checkpoint files: one that is not sound is never loaded, and what a run can go on from."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from small_runs import assert_same
from test_resume import Stopped, model, spec, stop_in

from edgenet.errors import EdgenetError, InputError, NodeError
from edgenet.launchers import resuming
from edgenet.meters.checkpoints import KEPT, Notice, Shelf, Told, common_round
from edgenet.node.plan import Plan, resolve
from edgenet.node.schedule import Schedule
from edgenet.node.threads import run_in_threads
from edgenet.results.rundir import RunDir
from edgenet.topology import dump


@pytest.fixture
def stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Plan, Path]:
    """A run whose server died in round 4 of 5, after checkpoints of 1, 2 and 3."""
    plan = resolve(spec("fedavg"))
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        stop_in(4, patch)
        with pytest.raises((Stopped, EdgenetError)):
            run_in_threads(plan, out)
    assert common_round(out, plan.seats).round == 3
    return plan, out


def damage(path: Path, how: str) -> None:
    content = path.read_bytes()
    if how == "gone":
        path.unlink()
    elif how.startswith("cut"):
        path.write_bytes(content[: int(float(how[4:]) * len(content))])
    else:
        at = int(float(how[5:]) * (len(content) - 1))
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])


@pytest.mark.parametrize(
    "how",
    ["gone", "cut 0", "cut 0.0001", "cut 0.5", "cut 0.99999",
     "flip 0", "flip 0.00001", "flip 0.5", "flip 1"],
)  # fmt: skip
def test_a_damaged_checkpoint_is_passed_over(stopped: tuple[Plan, Path], how: str) -> None:
    plan, out = stopped
    path = Shelf(out, "learner1").path(3)
    damage(path, how)
    common = common_round(out, plan.seats)
    assert common.round == 2
    named = [each for each in common.passed_over if each.startswith(f"{path} ")]
    assert len(named) == (how != "gone")


def test_a_node_refuses_what_is_not_sound(stopped: tuple[Plan, Path]) -> None:
    plan, out = stopped
    damage(Shelf(out, "server").path(3), "flip 0.7")
    with pytest.raises(NodeError, match="server has no sound checkpoint of round 3"):
        run_in_threads(plan, out, resume=3)


def test_a_run_goes_on_from_an_older_round_if_the_newest_is_torn(
    stopped: tuple[Plan, Path], tmp_path: Path
) -> None:
    plan, out = stopped
    damage(Shelf(out, "server").path(3), "cut 0.9")
    run_in_threads(plan, out, resume=common_round(out, plan.seats).round)
    run_in_threads(plan, tmp_path / "whole")
    assert_same(model(out), model(tmp_path / "whole"), exact=True)


def test_the_newest_are_kept_and_what_is_repeated_is_forgotten(
    stopped: tuple[Plan, Path],
) -> None:
    _, out = stopped
    shelf = Shelf(out, "server")
    assert shelf.rounds() == [3, 2, 1][:KEPT]
    assert shelf.begun() == [1, 2, 3, 4]
    shelf.forget(2)
    assert (shelf.rounds(), shelf.begun()) == ([2, 1], [1, 2])
    assert not list(shelf.folder.glob("*.part"))


def test_a_node_that_was_left_out_may_hold_an_older_one(stopped: tuple[Plan, Path]) -> None:
    plan, out = stopped
    shelf = Shelf(out, "learner0")
    shelf.forget(1)
    assert common_round(out, plan.seats).round == 3
    shelf.begin(3)  # it was there after all, and is not saved
    assert common_round(out, plan.seats).round == 2


@pytest.mark.parametrize("log", ["1\n2\n", ""])
def test_a_log_that_was_lost_does_not_outdate_what_is_saved(
    stopped: tuple[Plan, Path], log: str
) -> None:
    """The files are on the disk before they have a name; of the log a host may lose the end."""
    plan, run_dir = stopped
    before = common_round(run_dir, plan.seats).round
    assert before == 3
    (run_dir / "nodes" / "learner0" / "checkpoints" / "rounds").write_text(log, encoding="ascii")
    assert Shelf(run_dir, "learner0").last(before) == before
    assert Told("there", Shelf(run_dir, "learner0").told()).last(before) == before
    assert common_round(run_dir, plan.seats).round == before


def test_what_a_killed_node_has_half_written_is_forgotten(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, "a")
    shelf.begin(1)
    (shelf.folder / "7.part").write_bytes(b"half")
    shelf.forget(0)
    assert [path.name for path in shelf.folder.iterdir()] == ["rounds"]


def test_checkpoints_of_another_topology_are_refused(stopped: tuple[Plan, Path]) -> None:
    _, out = stopped
    with pytest.raises(EdgenetError, match="of another node or topology"):
        run_in_threads(resolve(spec("fedavg", lr=0.03)), out, resume=3)


def test_without_checkpoints_nothing_is_written(tmp_path: Path) -> None:
    run_in_threads(resolve(spec("psl", checkpoint=0, rounds=2)), tmp_path)
    assert not list(tmp_path.glob("nodes/*/checkpoints"))


def test_what_cannot_go_on_is_told(
    stopped: tuple[Plan, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, out = stopped
    run, text, digest = RunDir(out), dump(plan.topology), plan.digest.hex()
    with pytest.raises(InputError, match=r"no run.json and topology.yaml there"):
        resuming.taken(out).__enter__()
    run.topology.write_text(text)
    run.run_json.write_text(json.dumps({"exit_code": 0, "rounds": 5}))
    with pytest.raises(InputError, match=r"complete \(5 rounds\)"):
        resuming.taken(out).__enter__()
    run.run_json.write_text(json.dumps({"digest": digest}))
    monkeypatch.setattr(resuming, "_PATIENCE_S", 0.0)
    with resuming.held(out), pytest.raises(InputError, match="another process still runs it"):
        resuming.taken(out).__enter__()

    def going_on(text: str = text, digest: str = digest) -> int:
        with resuming.taken(out):
            return resuming.going_on(run, text, digest, Path("t.yaml"), plan.seats).round

    assert going_on() == 3
    with pytest.raises(InputError, match=r"t.yaml: is not what .* ran \(there 'lr: 0.02', here"):
        going_on(text.replace("lr: 0.02", "lr: 0.03"))
    with pytest.raises(InputError, match="the scheme's code is not"):
        going_on(digest="0")
    for number in (1, 2, 3):
        damage(Shelf(out, "server").path(number), "cut 0.5")
    with pytest.raises(InputError, match=r"no round of which every node .* is torn"):
        going_on()


class Clock:
    """Seconds by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def announced(
    tmp_path: Path, round_s: float, cost_s: float, rounds: int, late: int = 0, nbytes: int = 0
) -> list[int]:
    """After which rounds nodes save that take so long, and whose checkpoints cost so much and have
    so many bytes. They are written so many rounds later."""
    tmp_path.mkdir()
    clock, notice = Clock(), Notice(tmp_path)
    shelf = Shelf(tmp_path, "server")
    schedule, saved = Schedule(None, rounds, notice, [shelf], clock), []
    for number in range(1, rounds + 1):
        schedule.began(lambda: nbytes)
        clock.now += round_s
        if schedule.due(number):
            saved.append(number)
        if number - late in saved:
            shelf.write(number - late, lambda file: cost_s)
        schedule.border(number)
    return saved


def test_checkpoints_cost_at_most_a_fiftieth(tmp_path: Path) -> None:
    assert announced(tmp_path / "slow", 5.0, 0.001, 7) == [2, 4, 5, 6]  # over after 7
    assert announced(tmp_path / "late", 5.0, 0.001, 7, late=1) == [2, 4, 5, 6]
    assert announced(tmp_path / "later", 5.0, 0.001, 12, late=3) == [2, 6, 7, 11]
    cheap = announced(tmp_path / "cheap", 0.125, 0.001, 100)
    assert cheap[0] == 8
    assert {b - a for a, b in pairwise(cheap)} == {8}
    dear = announced(tmp_path / "dear", 0.125, 1.0, 2000)
    assert all(b - a >= 400 for a, b in pairwise(dear))
    assert len(dear) >= 3


def test_the_first_checkpoint_is_guessed_by_its_bytes(tmp_path: Path) -> None:
    small = announced(tmp_path / "small", 0.5, 0.001, 200, nbytes=1 << 20)
    large = announced(tmp_path / "large", 0.5, 0.001, 200, nbytes=1 << 29)
    assert small[0] == 2
    assert 0.5 * large[0] >= 50 * (1 << 29) / 5e8
    assert large[1] - large[0] == 2  # measured by now
