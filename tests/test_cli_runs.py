"""`edgenet runs`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from synthetic_run import fedavg

from edgenet.cli.main import main
from edgenet.results.rundir import RunDir, write_json


def test_runs_are_listed_with_how_they_ended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a-20260101-000000", "a-20260101-000001", "b-20251231-000000"):
        fedavg(tmp_path / name)
    ended = RunDir(tmp_path / "a-20260101-000000")
    write_json(ended.run_json, ended.run() | {"exit_code": 0})
    running = RunDir(tmp_path / "a-20260101-000001")
    write_json(running.run_json, {k: v for k, v in running.run().items() if k != "exit_code"})
    assert main(["runs", str(tmp_path), "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [Path(each["run"]).name for each in found] == [
        "b-20251231-000000",
        "a-20260101-000000",
        "a-20260101-000001",
    ]
    assert found[1]["outcome"] == "done"
    assert found[2]["outcome"] == "going on, or killed"
    assert found[1]["rounds"] == found[1]["rounds_asked"] == 3
    assert main(["runs", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum("fedavg" in line for line in lines) == 3


def test_a_folder_without_runs_is_said_to_have_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["runs", str(tmp_path)]) == 0
    assert "no runs in" in capsys.readouterr().out
    assert main(["runs", str(tmp_path / "nowhere")]) == 2
    assert "no such folder" in capsys.readouterr().err
