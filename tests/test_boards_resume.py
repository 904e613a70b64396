"""What boards keep of a run, and how a deployment goes on from it."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_boards import BOARD, GOOD, ORDER, TOPOLOGY

from edgenet.errors import InputError
from edgenet.launchers import resuming
from edgenet.launchers.boards import kept
from edgenet.launchers.boards.checks import complaints
from edgenet.launchers.boards.earlier import earlier
from edgenet.launchers.policy import Seat
from edgenet.meters.checkpoints import Shelf, Told, common_of
from edgenet.node.plan import Plan, resolve
from edgenet.results.rundir import RunDir
from edgenet.topology import dump


def test_a_run_that_goes_on_is_told_where_and_after_what() -> None:
    words = " ".join(replace(ORDER, resume=7).command(Path("out/x")))
    assert words.endswith("--nodes cam0,cam1 --resume out/x --after 7")
    assert "--resume" not in ORDER.command()


# ---- what boards keep ------------------------------------------------------------------------

RUNS = [f"{number:016x}" for number in range(8)]


def save(folder: Path, node: str = "cam0", number: int = 1) -> None:
    shelf = Shelf(folder / "out" / "small", node)
    shelf.begin(number)
    shelf.write(number, lambda file: file.write(b"x") * 0.0)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(kept, "FOLDER", tmp_path / "runs")
    monkeypatch.setattr(kept, "_PATIENCE_S", 0.2)
    return tmp_path / "runs"


def test_what_can_go_on_stays_and_the_newest_only(home: Path) -> None:
    for age, name in enumerate(RUNS):
        with kept.place(name, again=False) as folder:
            if name != RUNS[-2]:
                save(folder)
            os.utime(folder, (age, age))
    stay = [f"run-{name}" for name in RUNS]
    assert sorted(path.name for path in home.iterdir()) == [*stay[-kept.KEPT - 2 : -2], stay[-1]]
    with kept.place(RUNS[-1], again=True) as folder:
        assert kept.out(folder) == folder / "out" / "small"
    told = kept.shelves(RUNS[-1], ["cam0", "cam1"])
    assert told == {
        "cam0": {"begun": [1], "files": {"1": None}},
        "cam1": {"begun": [], "files": {}},
    }


def test_a_run_that_is_not_here_or_still_runs_is_refused(home: Path) -> None:
    with pytest.raises(ValueError, match="is not here"), kept.place(RUNS[0], again=True):
        pass
    with kept.place(RUNS[0], again=False) as folder:
        save(folder)
        with pytest.raises(ValueError, match="still goes on here"):
            kept.shelves(RUNS[0], ["cam0"])
    for name in ("", "../../etc", "run", RUNS[0] + "0"):
        with pytest.raises(ValueError, match="is no run's name"):
            kept.shelves(name, ["cam0"])


def test_the_newest_round_is_common_to_all_boards(home: Path) -> None:
    seats = [Seat(name=name, role="x", device="host", essential=True) for name in ("cam0", "pc")]
    told: dict[Any, Shelf | Told] = {}
    for seat, rounds in zip(seats, ((1, 2, 3), (1, 2)), strict=True):
        with kept.place(RUNS[len(told)], again=False) as folder:
            for number in rounds:
                save(folder, seat.name, number)
            Shelf(folder / "out" / "small", seat.name).begin(3)  # and was killed in it
        there = kept.shelves(RUNS[len(told)], [seat.name])
        told[seat] = Told(seat.name, json.loads(json.dumps(there))[seat.name])
    assert common_of(told).round == 2
    torn = {"begun": [1, 2, 3], "files": {"2": "is torn", "1": None}}
    told[seats[1]] = Told("board 'b1', pc", torn)
    common = common_of(told)
    assert common.round == 1
    assert common.passed_over == ["board 'b1', pc: 2.ckpt is torn; it is passed over"]
    with pytest.raises(ValueError, match="tells nothing of checkpoints"):
        Told("b1", {"begun": [1]})


def resumable(folder: Path, **more: Any) -> tuple[Plan, Path]:
    """A run that was deployed, as it is here when its deployment was killed."""
    plan = resolve(TOPOLOGY)
    run = RunDir(folder / "run")
    run.path.mkdir()
    run.topology.write_text(dump(TOPOLOGY), encoding="utf-8")
    dealt = {"cams": {"nodes": ["cam0", "cam1"]}}
    about = {"deployment": RUNS[0], "boards": dealt, "digest": plan.digest.hex(), **more}
    run.run_json.write_text(json.dumps(about), encoding="utf-8")
    return plan, run.path


def test_a_run_goes_on_where_its_nodes_were(tmp_path: Path) -> None:
    plan, path = resumable(tmp_path)
    board = replace(BOARD, name="cams", nodes=("cam0", "cam1"), where="h.yaml:2")
    assert earlier(path, plan, [board]).name == RUNS[0]
    with pytest.raises(InputError, match=r"h.yaml:2: host 'cams' carries cam1, but in .* it c"):
        earlier(path, plan, [replace(board, nodes=("cam1",))])
    with pytest.raises(InputError, match="it was not there; their checkpoints lie where they"):
        earlier(path, plan, [replace(board, name="other")])


def test_runs_are_resumed_the_way_they_were_started(tmp_path: Path) -> None:
    plan, path = resumable(tmp_path)
    with pytest.raises(InputError, match="resume it with `edgenet deploy --hosts FILE --resume"):
        with resuming.taken(path):
            pass
    (path / "run.json").write_text(json.dumps({"digest": plan.digest.hex()}), encoding="utf-8")
    with pytest.raises(InputError, match="was not deployed; resume it with `edgenet run --resume"):
        earlier(path, plan, [])


def test_a_board_without_its_folder_is_named() -> None:
    (found,) = complaints(BOARD, {**GOOD, "kept": False}, 0.0, "e", RUNS[0])
    assert f"has lost its folder of this run (~/.edgenet/runs/run-{RUNS[0]})" in found
    assert list(complaints(BOARD, {**GOOD, "kept": True}, 0.0, "e", RUNS[0])) == []
