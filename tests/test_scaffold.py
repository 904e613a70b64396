"""The scaffold: pins agree with ranges, links in documents lead somewhere, the watch watches."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
import time
from importlib.metadata import requires
from pathlib import Path

import pytest
from facilities import PROBES, have, unjustified
from synthetic_run import fedavg

from edgenet.results.rounds import COLUMNS
from edgenet.results.write import write_all

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("*/README.md")])


def bare(requirement: str) -> str:
    """'PyYAML>=6; python_version > "3"' -> 'pyyaml'."""
    return re.split(r"[\s<>=!~;\[]", requirement, maxsplit=1)[0].lower()


def test_every_direct_dependency_is_pinned() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all("==" in pin for pin in pins)
    asked = {bare(requirement) for requirement in requires("edgenet") or ()}
    assert asked == {bare(pin) for pin in pins}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_in_documents_lead_somewhere(path: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8"))
    inner = [target for target in targets if not target.startswith(("http://", "https://"))]
    assert [target for target in inner if not (path.parent / target).exists()] == []


def test_documents_are_ascii() -> None:
    assert [path for path in DOCUMENTS if not path.read_text(encoding="utf-8").isascii()] == []


def test_every_command_and_option_stands_in_the_documents() -> None:
    written = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    made = runpy.run_path(str(ROOT / "docs" / "make_commands.py"))["text"]()
    assert written == made, "run: python docs/make_commands.py"


@pytest.mark.parametrize(
    "script",
    [ROOT / ".ci/run", ROOT / ".ci/engine.sh", *sorted(ROOT.glob("launch/*.sh"))],
    ids=lambda path: path.name,
)
def test_scripts_are_valid_shell(script: Path) -> None:
    shell = "sh" if script.parent.name == "launch" else "bash"
    subprocess.run([shell, "-n", script], check=True, timeout=20)


# ---- the watch over the tests, on made-up test files ----------------------------------------


def outcome(folder: Path, body: str, **environment: str) -> str:
    """Run a made-up test file under this project's conftest; what pytest printed."""
    for name in ("conftest.py", "facilities.py", "leftovers.py"):
        (folder / name).write_text((ROOT / "tests" / name).read_text(encoding="utf-8"))
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "test_made_up.py").write_text(body, encoding="utf-8")
    clean = {k: v for k, v in os.environ.items() if k not in ("EDGENET_NO_SKIPS", "EDGENET_DATA")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rA", str(folder)],
        env={**clean, **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout + done.stderr


SLEEPER = (
    "import subprocess, sys\ndef start(**k):\n    return subprocess.Popen(['sleep', '60'], **k)\n"
)


@pytest.mark.parametrize(
    "body",
    [
        SLEEPER + "def test_it():\n    global p\n    p = start()\n",
        # An orphan of an orphan, in a session of its own, is found by the mark it carries.
        "import subprocess\ndef test_it():\n"
        "    subprocess.run('setsid sleep 60 >/dev/null 2>&1 &', shell=True, check=True)\n",
        # Ended, but nobody waited for it.
        "import os, time\ndef test_it():\n    global p\n    p = os.fork()\n    p or os._exit(0)\n"
        "    os.waitid(os.P_PID, p, os.WEXITED | os.WNOWAIT)\n",
        # A fixture of the module that forgets what it started.
        SLEEPER + "import pytest\n@pytest.fixture(scope='module')\ndef p():\n    return start()\n"
        "def test_first(p): pass\ndef test_it(p): pass\n",
    ],
)
def test_a_process_left_behind_fails_its_test(tmp_path: Path, body: str) -> None:
    said = outcome(tmp_path, body)
    assert "left behind by this test:\n  process " in said
    assert "ERROR test_made_up.py::test_it" in said
    assert "test_first - " not in said


def test_what_a_test_left_behind_is_ended(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    outcome(
        tmp_path,
        SLEEPER + f"def test_it():\n    open({str(note)!r}, 'w').write(str(start().pid))\n",
    )
    end = time.monotonic() + 10
    while Path("/proc", note.read_text()).exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert not Path("/proc", note.read_text()).exists()


def test_a_temporary_file_left_behind_fails_its_test(tmp_path: Path) -> None:
    said = outcome(tmp_path, "import tempfile\ndef test_it():\n    tempfile.mkdtemp()\n")
    assert "left behind by this test:\n  file " in said


def test_a_tidy_test_passes_and_leaves_no_folder(tmp_path: Path) -> None:
    body = (
        SLEEPER
        + "import tempfile, os\ndef test_it(tmp_path):\n    print('at', tempfile.gettempdir())\n"
        "    with tempfile.TemporaryDirectory(), start() as p:\n        p.kill()\n"
    )
    said = outcome(tmp_path, body)
    assert "1 passed" in said
    match = re.search(r"^at (.+)$", said, re.MULTILINE)
    assert match is not None
    assert not Path(match[1]).exists()


SKIP = "import pytest\ndef test_it():\n    pytest.skip({!r})\n"


def test_a_lazy_skip_fails_under_ci_only(tmp_path: Path) -> None:
    body = SKIP.format("needs Linux")
    assert "1 skipped" in outcome(tmp_path, body)
    said = outcome(tmp_path, body, EDGENET_NO_SKIPS="1")
    assert "1 failed" in said
    assert "although this machine has Linux" in said


def test_a_skip_for_what_is_missing_is_allowed(tmp_path: Path) -> None:
    said = outcome(tmp_path, SKIP.format("needs EDGENET_DATA"), EDGENET_NO_SKIPS="1")
    assert "1 skipped" in said


def test_a_module_that_skips_itself_lazily_fails(tmp_path: Path) -> None:
    body = "import pytest\npytest.skip('needs Linux', allow_module_level=True)\n"
    said = outcome(tmp_path, body, EDGENET_NO_SKIPS="1")
    assert "1 error" in said
    assert "although this machine has Linux" in said


def test_reasons_of_skips() -> None:
    assert "must be 'needs <facility>'" in str(unjustified("too slow"))
    assert "unknown facility 'gold'" in str(unjustified("Skipped: needs gold and root"))
    here = [name for name in PROBES if have(name)]
    assert "although" in str(unjustified("needs " + " and ".join(here)))
    assert [unjustified(f"needs {name}: why") for name in PROBES if not have(name)] == [None] * (
        len(PROBES) - len(here)
    )


def test_every_figure_is_explained(tmp_path: Path) -> None:
    """Each key of summary.json, and each column of rounds.csv, stands in docs/figures.md."""
    text = (ROOT / "docs" / "figures.md").read_text(encoding="utf-8")
    run = fedavg(tmp_path, lost="learner1").run
    summary = write_all(run)
    first = next(iter(summary["nodes"].values()))
    keys = {*summary, *summary["bytes"], *first, *summary["faults"][0], *COLUMNS}
    assert sorted(key for key in keys if f"`{key}`" not in text) == []
