"""`edgenet doctor`: what it finds is so, and every line that is not well has a remedy."""

from __future__ import annotations

import json
import resource
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from edgenet.cli import checkup
from edgenet.cli.checkup import FAILS, NOTE, OK, Finding
from edgenet.cli.main import main
from edgenet.errors import NodeError
from edgenet.launchers.local import Local


@pytest.mark.processes
def test_a_machine_that_runs_these_tests_runs_edgenet(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["doctor", "--format", "json"]) == 0
    found = {each["name"]: each for each in json.loads(capsys.readouterr().out)}
    for name in ("Python", "packages", "open files", "loopback", "folder", "two nodes"):
        assert found[name]["state"] == OK, found[name]
    assert "trained a round over gloo" in found["two nodes"]["says"]
    for each in found.values():
        assert each["state"] in (OK, NOTE)
        assert bool(each["remedy"]) == (each["state"] == NOTE), each


def only(check: Any) -> Finding:
    found: Sequence[Finding] = list(check())
    assert len(found) == 1
    return found[0]


def test_a_run_that_fails_is_told_in_its_own_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise NodeError("the fork server ended with exit code 1: no torch")

    monkeypatch.setattr(Local, "run", fail)
    found = only(checkup._run)
    assert (found.state, found.says) == (FAILS, "the fork server ended with exit code 1: no torch")
    assert "edgenet run topologies/quickstart.yaml" in found.remedy


def test_what_fails_ends_with_3_and_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = [Finding("a", OK, "fine"), Finding("b [x]", NOTE, "is [not] there", "get [it]"),
             Finding("c", FAILS, "broken", "mend it")]  # fmt: skip
    monkeypatch.setattr("edgenet.cli.doctor.findings", lambda: iter(found))
    assert main(["doctor"]) == 3
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[:3]] == [
        ["ok", "a", "fine"], ["note", "b", "[x]", "is", "[not]", "there"], ["get", "[it]"],
    ]  # fmt: skip
    assert lines[-1] == "edgenet cannot run here: c."
    monkeypatch.setattr("edgenet.cli.doctor.findings", lambda: iter(found[:2]))
    assert main(["doctor"]) == 0
    assert capsys.readouterr().out.endswith("edgenet can run here.\n")


def test_what_is_not_there_is_a_note_with_a_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert only(checkup._docker) == Finding(
        "containers", NOTE, "docker is not installed", "install Docker and Compose"
    )
    monkeypatch.delenv("EDGENET_DATA", raising=False)
    assert "EDGENET_DATA is not set" in only(checkup._data).says
    monkeypatch.setenv("EDGENET_DATA", str(tmp_path))
    assert only(checkup._data).says == f"{tmp_path} has none"
    monkeypatch.setattr(checkup, "EXTRAS", {"moon": ("not_on_earth",)})
    assert only(checkup._extras) == Finding(
        "extra moon", NOTE, "not_on_earth not installed", "run `pip install 'edgenet[moon]'`"
    )


def test_what_edgenet_cannot_do_without_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (64, 64))
    found = only(checkup._files)
    assert (found.state, found.says) == (FAILS, "at most 64 a process")
    assert "ulimit -Hn" in found.remedy
