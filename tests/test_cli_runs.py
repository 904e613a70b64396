"""`edgenet runs`."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console
from synthetic_run import fedavg

from edgenet.cli.main import main
from edgenet.cli.tables import print_fitting
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


@pytest.mark.parametrize("width", [200, 90, 50, 20])
def test_on_a_narrow_terminal_a_table_loses_columns_and_no_word(width: int) -> None:
    out = Console(width=width, file=io.StringIO())
    columns = ("node", "role", "device", "status")
    rows = [("learner-number-10", "worker", "jetson-nano", "done in part")] * 2
    print_fitting(out, columns, rows, spare=("role", "device"))
    assert isinstance(out.file, io.StringIO)
    printed = out.file.getvalue()
    left = [column for column in ("role", "device") if column not in printed.splitlines()[1]]
    assert left == {200: [], 90: [], 50: ["role"], 20: ["role", "device"]}[width]
    assert ("left out" in printed) == bool(left)
    if width > 20:
        shown = [cell for column, cell in zip(columns, rows[0], strict=True) if column not in left]
        assert all(printed.count(cell) == 2 for cell in shown)
