from __future__ import annotations

import json
import math
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from edgenet.errors import InputError
from edgenet.results.rundir import (
    RunDir,
    finite,
    latest_run,
    new_run_dir,
    replacing,
    runs,
    write_json,
)


def test_a_run_is_named_after_its_topology_and_the_time(tmp_path: Path) -> None:
    run = new_run_dir(tmp_path / "runs", "quickstart", now=0.0)
    assert re.fullmatch(r"quickstart-(1970|1969)\d{4}-\d{6}", run.path.name)
    assert run.nodes.is_dir()


def test_runs_that_start_together_get_folders_of_their_own(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: new_run_dir(tmp_path, "x", now=0.0).path.name, range(8)))
    stem = min(made, key=len)
    assert set(made) == {stem, *(f"{stem}-{number}" for number in range(2, 9))}


@pytest.mark.parametrize("name", ["../../etc", "a/b", "..", "", "\u00fc", "a b\n"])
def test_a_name_cannot_lead_out_of_the_base(tmp_path: Path, name: str) -> None:
    assert new_run_dir(tmp_path, name).path.parent == tmp_path


def test_a_base_that_is_a_file_is_refused_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(InputError, match=r"runs: cannot make a run directory there .*--out"):
        new_run_dir(tmp_path / "runs", "x")


def test_the_latest_run_is_the_one_that_started_last(tmp_path: Path) -> None:
    made = [new_run_dir(tmp_path, name, now=at) for name, at in [("b", 9e8), ("a", 9e8 + 5)]]
    made += [new_run_dir(tmp_path, "a", now=9e8 + 5) for _ in range(10)]
    for run in reversed(made):
        write_json(run.run_json, {})
    (tmp_path / "notes").mkdir()
    assert [run.path for run in runs(tmp_path)] == [run.path for run in made]
    assert latest_run(tmp_path).path.name.endswith("-11")


@pytest.mark.parametrize("base", ["empty", "missing"])
def test_no_runs_is_said_with_what_to_do(tmp_path: Path, base: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no runs there; start one with `edgenet run"):
        latest_run(tmp_path / base)


def test_paths_of_a_node(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    assert run.events("cam0") == tmp_path / "nodes" / "cam0" / "events.jsonl"
    assert run.log("cam0") == tmp_path / "nodes" / "cam0" / "log.txt"


@pytest.mark.parametrize("content", [None, "", '{"a":', "[1]", "\x00"])
def test_a_damaged_run_json_is_empty(tmp_path: Path, content: str | None) -> None:
    run = RunDir(tmp_path)
    if content is not None:
        run.run_json.write_text(content)
    assert run.run() == {}


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    path.write_text("old")
    with pytest.raises(TypeError), replacing(path) as file:
        json.dump({"good": 1, "bad": object()}, file)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_json_does_not_have_becomes_null(tmp_path: Path) -> None:
    value = {"a": math.nan, "b": [math.inf, 1.5, (-math.inf,)], "c": {"d": True, "e": "x"}}
    write_json(tmp_path / "x.json", value)
    read = json.loads((tmp_path / "x.json").read_text())
    assert (
        read == finite(value) == {"a": None, "b": [None, 1.5, [None]], "c": {"d": True, "e": "x"}}
    )
