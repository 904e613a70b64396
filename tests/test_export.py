"""Runs as tables and for trackers; and docs/schema.md holds what is written."""

from __future__ import annotations

import csv
import importlib.util
import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from synthetic_run import about, fedavg
from test_control import scripted  # noqa: F401 (a fixture)
from test_launch_local import Launcher

from edgenet.cli.hook import Hooked, load_hook
from edgenet.cli.main import main
from edgenet.errors import InputError
from edgenet.results.rounds import read_rounds
from edgenet.results.rundir import RunDir, write_json
from edgenet.results.write import write_all

SCHEMA = (Path(__file__).parents[1] / "docs/schema.md").read_text(encoding="utf-8")


def documented(title: str) -> set[str]:
    """The keys in the table of a section of docs/schema.md."""
    section = SCHEMA.split(f"\n## {title}\n")[1].split("\n## ")[0]
    cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """A finished run of two learners, one of which was lost."""
    writer = fedavg(tmp_path / "one", lost="learner1")
    write_json(writer.run.run_json, about(2, exit_code=0))
    write_all(writer.run)
    return writer.run


def test_summary_and_rounds_are_as_documented(run: RunDir) -> None:
    summary = json.loads(run.summary.read_text(encoding="utf-8"))
    assert set(summary) == documented("summary.json")
    assert {key for node in summary["nodes"].values() for key in node} == documented(
        "summary.json: nodes"
    )
    with run.rounds.open(encoding="utf-8", newline="") as file:
        columns = csv.DictReader(file).fieldnames
    assert columns is not None
    assert set(columns) - {"drift"} == documented("rounds.csv")
    assert columns[-1] == "schema_version"
    assert "schema_version" not in read_rounds(run.rounds)[0]


@pytest.mark.processes
def test_run_json_and_journals_are_as_documented(scripted: Launcher) -> None:  # noqa: F811
    scripted.started()
    run = RunDir(scripted.run)
    known = documented("run.json") | {"host_flops", "limits", "parameters", "notes"}
    assert documented("run.json") <= set(scripted.read("run.json")) <= known
    for journal in run.nodes.glob("*/events.jsonl"):
        first = json.loads(journal.read_text(encoding="utf-8").splitlines()[0])
        assert first["schema_version"] == 1
        assert {"e", "t", "r"} <= set(first)


def test_every_file_has_a_version(run: RunDir) -> None:
    assert json.loads(run.trace.read_text(encoding="utf-8"))["otherData"]["schema_version"] == 1
    page = run.report.read_text(encoding="utf-8")
    assert '<meta name="edgenet-schema-version" content="1">' in page


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_runs_become_tables(
    run: RunDir, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    other = fedavg(tmp_path / "two", learners=1).run
    out = tmp_path / "out"
    assert main(["export", str(run.path), str(other.path), "--to", kind, "--out", str(out)]) == 0
    names = [Path(line).name for line in capsys.readouterr().out.splitlines()]
    assert names == [f"{name}.{kind}" for name in ("rounds", "nodes", "links", "faults")]
    rounds, nodes, links, faults = (read(out / name) for name in names)
    assert [(row["run"], int(row["round"])) for row in rounds] == [
        ("one", 1), ("one", 2), ("one", 3), ("two", 1), ("two", 2), ("two", 3),
    ]  # fmt: skip
    assert [row["node"] for row in nodes] == [
        "server",
        "learner0",
        "learner1",
        "server",
        "learner0",
    ]
    assert float(nodes[1]["compute_s"]) == pytest.approx(1.5)
    assert {(row["source"], row["target"]) for row in links} == {
        (a, b) for a, b in (("server", "learner0"), ("server", "learner1"))
    } | {("learner0", "server"), ("learner1", "server")}
    assert [(row["peer"], row["what"]) for row in faults] == [("learner1", "lost")]
    assert {int(row["schema_version"]) for row in (*rounds, *nodes, *links, *faults)} == {1}


def read(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".csv":
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    from pyarrow import parquet

    table = parquet.read_table(path)
    assert table.schema.metadata[b"schema_version"] == b"1"
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def test_parquet_without_its_extra_is_one_sentence(
    run: RunDir, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(["export", str(run.path), "--to", "parquet", "--out", str(run.path / "x")]) == 2
    assert "pip install 'edgenet[parquet]'" in capsys.readouterr().err


HOOK = """\
import json, pathlib
TOLD = pathlib.Path(__file__).with_suffix(".told")
def on_round(row):
    print("to the tracker")
    with TOLD.open("a") as file:
        file.write(json.dumps(row) + "\\n")
def on_end(summary):
    with TOLD.open("a") as file:
        file.write(json.dumps({"outcome": summary["outcome"]}) + "\\n")
def broken(row):
    raise RuntimeError(f"no tracker in round {row['round']}")
"""


@pytest.fixture
def tracker(tmp_path: Path) -> Path:
    path = tmp_path / "tracker.py"
    path.write_text(HOOK, encoding="utf-8")
    return path


def test_a_hook_is_given_every_round_and_the_end(
    run: RunDir, tracker: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(run.path), "--hook", str(tracker)]) == 0
    told = [json.loads(line) for line in tracker.with_suffix(".told").read_text().splitlines()]
    assert [row.get("round") for row in told] == [1, 2, 3, None]
    assert set(told[0]) == documented("Trackers")
    assert (told[0]["run"], told[0]["accuracy"], told[0]["active"]) == ("one", 0.6, 2)
    assert told[1]["faults"] == 1
    assert told[-1] == {"outcome": "done"}
    said = capsys.readouterr()
    assert (said.out, "to the tracker" in said.err) == ("", True)


def test_a_hook_that_fails_is_told_of_once(run: RunDir, tracker: Path) -> None:
    said: list[str] = []
    Hooked(run, load_hook(f"{tracker}:broken"), said.append).end({"outcome": "done"})
    assert said == [
        f"--hook {tracker}:broken: RuntimeError: no tracker in round 1; it is not called again"
    ]


@pytest.mark.parametrize(
    ("given", "text", "said"),
    [
        ("{}/none.py", "", "no such file"),
        ("{}/t.py", "x = 1", "no function 'on_round'"),
        ("{}/t.py:other", "def on_round(row): ...", "no function 'other'"),
        ("{}/t.py", "1 / 0", "ZeroDivisionError: division by zero"),
        ("no_such_module_at_all:f", "", "ModuleNotFoundError"),
    ],
)
def test_a_hook_that_is_none_is_refused_before_the_run(
    tmp_path: Path, given: str, text: str, said: str, topology_file: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (tmp_path / "t.py").write_text(text, encoding="utf-8")
    out = tmp_path / "runs"
    assert (
        main(["run", str(topology_file), "--hook", given.format(tmp_path), "--out", str(out)]) == 2
    )
    assert said in capsys.readouterr().err
    assert not out.exists()
    with pytest.raises(InputError):
        load_hook(given.format(tmp_path))


class Recorder(ModuleType):
    """A tracker's module that writes down what it is asked for."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.asked: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self.run = self.running = None

    def __getattr__(self, name: str) -> Any:
        def ask(*given: Any, **named: Any) -> Any:
            self.asked.append((name, given, named))
            if name in ("start_run", "init"):
                self.run = self.running = True  # type: ignore[assignment]
            return self.running if name == "active_run" else None

        if name == "summary":
            return self
        return ask


@pytest.mark.parametrize("name", ["mlflow", "wandb"])
def test_the_trackers_in_the_documents_are_fed(
    run: RunDir, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", SCHEMA, re.S)
               if block.startswith(f"import {name}\n")]  # fmt: skip
    (tmp_path / "tracker.py").write_text(code, encoding="utf-8")
    module = Recorder(name)
    monkeypatch.setitem(sys.modules, name, module)
    said: list[str] = []
    summary = json.loads(run.summary.read_text(encoding="utf-8"))
    Hooked(run, load_hook(str(tmp_path / "tracker.py")), said.append).end(summary)
    assert said == []
    steps = [(given[0]["accuracy"], named["step"]) for what, given, named in module.asked
             if what in ("log_metrics", "log")]  # fmt: skip
    assert steps == [(0.6, 1), (0.7, 2), (0.8, 3)]
    assert module.asked[-1][0] in ("end_run", "finish")
