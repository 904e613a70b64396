"""`edgenet plan T --timetable` and `edgenet trace RUN`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from chains import chain

from edgenet.cli.main import main
from edgenet.node.plan import resolve
from edgenet.node.threads import run_in_threads
from edgenet.results.acts import boxes, messages
from edgenet.results.rundir import RunDir
from edgenet.results.stages import held
from edgenet.topology.load import dump


def write(folder: Path, scheme: str, workers: int = 3, **train: object) -> str:
    file = folder / "chain.yaml"
    file.write_text(dump(chain(scheme, workers, **train)), encoding="utf-8")
    return str(file)


def test_the_timetable_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path, "mcpipe-adaptive", windows=[4, 4, 1])
    assert main(["plan", file, "--timetable"]) == 0
    out = capsys.readouterr().out
    assert "worker1 . F1:0 F2:0 F3:0 F4:0 B1:0 U1:1" in " ".join(out.split())
    assert "F1.linear" in out
    assert main(["plan", file, "--timetable", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [stage["versions"] for stage in found["stages"]] == [4, 4, 1]
    assert found["stages"][0]["actions"][:2] == ["F1:0", "F2:0"]


def test_a_deadlock_is_refused_with_the_timetable(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path, "pipedream", windows=[1, 2, 1])
    assert main(["plan", file, "--timetable"]) == 2
    err = capsys.readouterr().err
    assert "stage 2 at F2:0 waits for stage 1" in err
    assert err.count("<-- here") == 3


def test_other_schemes_have_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", write(tmp_path, "data-parallel"), "--timetable"]) == 2
    assert "scheme 'data-parallel' has no timetable" in capsys.readouterr().err


def test_a_run_is_drawn_as_it_happened(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_in_threads(resolve(chain("mcpipe", 2)), tmp_path)
    found = boxes(RunDir(tmp_path), ["worker0", "worker1"], 2)
    text = [f"{box.verb}{box.number}" for box in found["worker0"]]
    assert text[:7] == ["F1", "F2", "F3", "F4", "B1", "U1", "F5"]
    assert [bool(box.recomputed) for box in found["worker0"][:7]] == [False] * 6 + [True]
    assert not any(box.recomputed for box in found["worker1"])  # it computes the loss
    crossed = messages(RunDir(tmp_path), found, 2)
    assert len(crossed) == 2 * text.count("F9") * 9  # activations there, errors back
    assert all(each.ready_s <= each.taken_s for each in crossed)
    assert main(["trace", str(tmp_path), "--round", "2"]) == 0
    pictures = capsys.readouterr().out.splitlines()
    assert [Path(line).name for line in pictures] == ["timetable.png", "timetable-memory.png"]
    assert all(Path(line).read_bytes()[:4] == b"\x89PNG" for line in pictures)
    seen = held(RunDir(tmp_path), "worker0", float)
    assert max(live for _, _, live in seen) == 4
    assert len({parts["versions"] for _, parts, _ in seen}) == 1  # mcPipe materialises one


def test_what_is_no_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", str(tmp_path)]) == 2
    assert "is not the folder of a run" in capsys.readouterr().err
