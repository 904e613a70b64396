"""Schemes in files of the user's own: the skeleton runs as written; what is wrong is a sentence."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from edgenet.cli import compare
from edgenet.cli.main import main
from edgenet.errors import InputError, TopologyError
from edgenet.launchers import compose
from edgenet.node.plan import Plan, resolve
from edgenet.topology import dump, load


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a skeleton; tests that change it make a copy."""
    folder = tmp_path_factory.mktemp("own")
    assert main(["new-scheme", "my-scheme", "--out", str(folder)]) == 0
    return folder


def python(*arguments: object, cwd: Path) -> str:
    """A Python program's output on stdout."""
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.processes
def test_the_skeleton_runs_as_it_is(written: Path, tmp_path: Path) -> None:
    command = ("-m", "edgenet", "run", written / "my_scheme.yaml", "--out", tmp_path)
    summary = json.loads(python(*command, "--format", "json", cwd=tmp_path))
    (run,) = tmp_path.iterdir()
    assert summary["rounds"] == 5
    assert (run / "my_scheme.py").read_bytes() == (written / "my_scheme.py").read_bytes()
    assert resolve(load(run / "topology.yaml")).scheme.name == "my-scheme"


@pytest.mark.processes
def test_the_skeletons_own_test_passes(written: Path) -> None:
    assert "2 passed" in python(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_my_scheme.py", cwd=written
    )


def test_the_skeletons_own_test_can_fail(written: Path, tmp_path: Path) -> None:
    right = (written / "my_scheme.py").read_text(encoding="utf-8")
    assert right.count("w + server_rate *") == 1
    for file in written.glob("*.*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "my_scheme.py").write_text(right.replace("w + server_rate *", "w + 0.9 *"))
    with pytest.raises(AssertionError, match="2 failed"):
        python("-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=tmp_path)


def plan(folder: Path, code: str, *overrides: str) -> Plan:
    (folder / "own.py").write_text(code, encoding="utf-8")
    text = "nodes: {a: {device: host}}\ntrain:\n  scheme: ./own.py\n  data: {name: digits}\n"
    (folder / "t.yaml").write_text(text, encoding="utf-8")
    return resolve(load(folder / "t.yaml", overrides))


GOOD = """\
from dataclasses import dataclass
from edgenet.schemes import Role, Scheme

@dataclass(frozen=True)
class Options:
    speed: float = 1.0

SCHEME = Scheme(
    name="own", summary="", options=Options,
    roles=(Role(name="trainer", play=print, trains_on=True),),
)
"""


def test_nodes_with_different_code_do_not_link(tmp_path: Path) -> None:
    one, other = plan(tmp_path, GOOD), plan(tmp_path, GOOD + "# changed\n")
    assert (one.scheme.name, one.topology.train.scheme) == ("own", "./own.py")
    assert one.topology == other.topology
    assert one.digest != other.digest


def test_compare_runs_a_changed_scheme_again(tmp_path: Path) -> None:
    made, run = plan(tmp_path, GOOD), tmp_path / "runs" / "t-20260101-000000"
    assert made.code is not None
    run.mkdir(parents=True)
    (run / "topology.yaml").write_text(dump(made.topology), encoding="utf-8")
    (run / "own.py").write_bytes(made.code.content)
    (run / "run.json").write_text('{"exit_code": 0, "topology": "t"}', encoding="utf-8")
    code = (made.code.file, made.code.content)
    text = dump(made.topology)
    same = compare.Point(
        scheme="own", seed=0, overrides=(), topology=text, launcher="local", code=code
    )
    found = compare._earlier(run.parent, same)
    assert found is not None
    assert found.path == run
    changed = replace(same, code=("own.py", b"# changed"))
    assert compare._earlier(run.parent, changed) is None


def test_a_path_on_the_command_line_is_relative_to_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mine.py").write_text(GOOD.replace('"own"', '"mine"'), encoding="utf-8")
    monkeypatch.chdir(elsewhere)
    found = plan(tmp_path, GOOD, "train.scheme=./mine.py", "train.speed=2")
    assert (found.scheme.name, found.options.speed) == ("mine", 2)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("import dataclass\n", "import dataklass\n"), "own.py:1: ImportError: cannot import"),
        (("speed: float = 1.0", "speed: float ="), "own.py:6: SyntaxError: invalid syntax"),
        (("SCHEME = ", "1 / 0\nSCHEME = "), "own.py:8: ZeroDivisionError: division by zero"),
        (("SCHEME = ", "import sys; sys.exit(0)\nSCHEME = "), "own.py:8: SystemExit: 0"),
        (("SCHEME =", "MINE ="), "own.py defines no SCHEME; end it with SCHEME = Scheme("),
        (('"own"', '"fedavg"'), "own.py:8: SCHEME is called 'fedavg' like one of edgenet's own"),
        (("trains_on=True", 'peers=("b",)'), "own.py:8: role 'trainer' has the peer 'b'; roles"),
        (("float = 1.0", "complex = 1j"), "own.py:8: Options.speed has a type that no topology"),
        (("float = 1.0", "float"), "own.py:8: Options.speed has no default"),
        (("options=Options", "options=Options()"), "own.py:8: the options of SCHEME must be a"),
        (("(Role(", "(1, Role("), "own.py:8: the roles of SCHEME must be a tuple of"),
        (
            ("trains_on=True),)", 'peers=("b",)), Role(name="b", play=print))'),
            "role 'trainer' has the peer 'b', but 'b' does not have 'trainer'",
        ),
    ],
)
def test_what_is_wrong_in_the_file_is_a_sentence(
    change: tuple[str, str], said: str, tmp_path: Path
) -> None:
    code = GOOD.replace(*change)
    assert code != GOOD
    with pytest.raises(TopologyError) as refused:
        plan(tmp_path, code)
    assert str(refused.value).startswith(f"{tmp_path / 't.yaml'}:3: ")
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("https://example.org/own.py", "code is never loaded from a link"),
        ("./missing.py", "missing.py: no such file; the path of a scheme is relative to the curr"),
        ("./own", "is no scheme of edgenet and no Python file; name one like ./my_scheme.py"),
    ],
)
def test_what_is_no_file_is_a_sentence(name: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(TopologyError) as refused:
        plan(tmp_path, GOOD, f"train.scheme={name}")
    assert str(refused.value).startswith(f"--set train.scheme={name}: ")
    assert said in str(refused.value)


def test_containers_do_not_get_the_file(tmp_path: Path) -> None:
    request = compose.Request(
        plan=plan(tmp_path, GOOD), overrides=(), folder=tmp_path, net_admin=False
    )
    with pytest.raises(InputError, match=r"t.yaml:3: containers do not get own.py"):
        compose.text(request)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("fedavg", "is one of edgenet's own schemes"),
        ("Big", "cannot name a scheme"),
        ("class", "cannot name a scheme"),
        ("../x", "cannot name a scheme"),
        ("my-scheme", "my_scheme.py: is there already"),
    ],
)
def test_new_scheme_refuses(
    name: str, said: str, written: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new-scheme", name, "--out", str(written)]) == 2
    assert said in capsys.readouterr().err
