"""The command line without a run: help, check, devices, show, and how errors read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import edgenet
from edgenet.cli.main import main


def edgenet_(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "edgenet", *map(str, arguments)]


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The sentence with which a command refuses bad input."""
    try:
        code = main([str(word) for word in arguments])
    except SystemExit as ended:  # argparse
        code = int(ended.code or 0)
    out, err = capsys.readouterr()
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert err.startswith("edgenet: ")
    return err


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    for flag in ("--version", "--help"):
        with pytest.raises(SystemExit) as ended:
            main([flag])
        assert ended.value.code == 0
    out = capsys.readouterr().out
    assert f"edgenet {edgenet.__version__}\n" in out
    for code in ("0    done", "2    bad input", "3    a node failed", "130  interrupted"):
        assert code in out


@pytest.mark.parametrize(
    "command",
    [
        "run",
        "compare",
        "check",
        "plan",
        "trace",
        "probe",
        "data",
        "devices",
        "runs",
        "show",
        "leakage",
        "bench",
        "shape",
        "clean",
        "new-scheme",
    ],
)
def test_help_of_each_command_offers_only_what_there_is(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    out = capsys.readouterr().out
    assert "exit codes:" in out
    assert "compose" not in out


@pytest.mark.parametrize("arguments", [["--help"], ["devices"], ["run", "--help"]])
def test_quick_commands_do_without_torch(arguments: list[str]) -> None:
    program = (
        "import sys; from edgenet.cli.main import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True)
    assert done.returncode == 0, done.stderr


def test_devices_lists_every_profile(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["devices"]) == 0
    assert "Raspberry Pi 4 B" in capsys.readouterr().out
    assert main(["devices", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["pi4"]["cores"] == 4


def test_check_prints_nodes_links_and_a_drawing(
    topology_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(topology_file)]) == 0
    out = capsys.readouterr().out
    assert [
        word for word in ("server", "learner2", "pi4", "100 Mbit/s", "2 ms") if word not in out
    ] == []
    assert "trains two-nn on digits with fedavg, 2 rounds, 4 processes, seed 7" in out
    assert f"torchrun --nproc-per-node 4 -m edgenet.worker {topology_file}" in out


def test_check_folds_a_large_network(
    topology_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(topology_file), "--set", "nodes.learner.count=90"]) == 0
    out = capsys.readouterr().out
    assert "learner0..learner89" in out
    assert out.count("\n") < 40


def test_check_as_json_tells_ranks_and_processes(
    topology_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = ["--set", "train.scheme=fedprox", "--set", "nodes.learner.count=2"]
    more = ["--seed", "9", "--shaping", "none", "--format", "json"]
    code = main(["check", str(topology_file), *changes, *more])
    found = json.loads(capsys.readouterr().out)
    assert code == 0
    assert (found["scheme"], found["processes"], found["seed"]) == ("fedprox", 3, 9)
    assert found["shaping"]["used"] == "none"
    assert found["seats"]["server"]["rank"] == 0
    assert found["seats"]["learner0"]["peers"] == ["server"]


@pytest.mark.parametrize("command", ["check", "run"])
def test_a_wrong_file_is_one_sentence(
    command: str,
    topology_file: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(topology_file.parent)
    missing = topology_file.with_name("missing.yaml")
    assert f"{missing}: no such file" in refused(capsys, command, missing)
    topology_file.write_text("nodes: {a: {device: pi99}}\ntrain: {scheme: fedavg}\n")
    said = refused(capsys, command, topology_file)
    assert f"{topology_file}:1: " in said
    assert "pi99" in said
    assert not Path("runs").exists()


def test_set_names_the_override_that_is_wrong(
    topology_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(capsys, "check", topology_file, "--set", "train.rounds=many")
    assert "--set train.rounds=many" in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "arguments are required: COMMAND; see `edgenet --help`"),
        (["fly"], "invalid choice: 'fly'"),
        (["run"], "which topology? give its file T, or --resume RUN"),
        (["run", "t.yaml", "--shaping", "magic"], "invalid choice: 'magic'"),
        (["run", "t.yaml", "--launcher", "rockets"], "invalid choice: 'rockets'"),
        (["run", "t.yaml", "--seed", "x"], "invalid int value: 'x'"),
        (["show", "no-such-run"], "no-such-run: no run.json there"),
    ],
)
def test_wrong_arguments_are_one_sentence(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert words in refused(capsys, *arguments)


def test_a_back_end_that_is_not_there_is_never_replaced(
    topology_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(capsys, "run", topology_file, "--launcher", "local", "--shaping", "netem")
    assert "shaping 'netem' needs a network namespace for each node" in said


def test_traceback_only_when_asked_for(
    topology_file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGENET_DEBUG", "1")
    topology_file.write_text("[]")
    assert main(["check", str(topology_file)]) == 2
    err = capsys.readouterr().err
    assert "Traceback (most recent call last)" in err
    assert err.splitlines()[-1].startswith("edgenet: ")


def test_a_reader_that_has_seen_enough_is_no_error(topology_file: Path) -> None:
    command = f"{' '.join(edgenet_('check', topology_file))} | true"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")


def test_show_without_any_run_says_how_to_start_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "start one with `edgenet run" in refused(capsys, "show")


@pytest.fixture
def large_run(tmp_path: Path) -> Path:
    """A run of which only the journals are there; the last of fifty nodes failed."""
    folder = tmp_path / "large"
    names = [f"n{number}" for number in range(50)]
    for name in names:
        (folder / "nodes" / name).mkdir(parents=True)
        status = "failed" if name == "n49" else "done"
        event = {"e": "end", "t": 1.0, "r": 1, "status": status}
        (folder / "nodes" / name / "events.jsonl").write_text(json.dumps(event) + "\n")
    nodes = {name: {"role": "learner", "device": "host"} for name in names}
    (folder / "run.json").write_text(json.dumps({"topology": "net", "nodes": nodes}))
    return folder


def test_show_derives_a_large_run_and_puts_failures_first(
    large_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", str(large_run)]) == 0
    lines = capsys.readouterr().out.splitlines()
    nodes = [line.split()[0] for line in lines if line.strip().startswith("n") and "host" in line]
    assert nodes == ["n49", *(f"n{number}" for number in range(39))]
    assert f"and 10 more nodes in {large_run}/summary.json" in lines


def test_show_derives_anew_where_events_are_newer(
    large_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", str(large_run), "--format", "json"]) == 0
    before = json.loads(capsys.readouterr().out)
    journal = large_run / "nodes/n49/events.jsonl"
    journal.write_text(journal.read_text().replace("failed", "interrupted"))
    later = (large_run / "summary.json").stat().st_mtime + 1
    os.utime(journal, (later, later))
    assert main(["show", str(large_run), "--format", "json"]) == 0
    after = json.loads(capsys.readouterr().out)
    assert before["nodes"]["n49"]["status"] == "failed"
    assert after["nodes"]["n49"]["status"] == "interrupted"


def test_data_show_draws_what_the_sources_see(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    everything, sources = tmp_path / "everything.png", tmp_path / "sources.png"
    assert main(["data", "show", "--samples", "2", "--out", str(everything)]) == 0
    topology = str(Path(__file__).parents[1] / "topologies" / "quickstart.yaml")
    views = "train.data={name: digits, views: [erase, sensor]}"
    command = ["data", "show", topology, "--samples", "2", "--out", str(sources)]
    assert main([*command, "--set", "train.scheme=fpl", "--set", views]) == 0
    assert f"2 of them in {sources}" in capsys.readouterr().out
    assert everything.read_bytes().startswith(b"\x89PNG")
    assert 0 < sources.stat().st_size < everything.stat().st_size
