"""The tutorial, followed word for word."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.processes
@pytest.mark.timeout(300)
def test_every_command_of_the_tutorial_works(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    commands = "".join(re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    assert commands.count("edgenet ") > 8
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, call in (("edgenet", f"{sys.executable} -m edgenet"), ("python", sys.executable)):
        (programs / name).write_text(f'#!/bin/sh\nexec {call} "$@"\n', encoding="utf-8")
        (programs / name).chmod(0o755)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "refused, with exit code 2" in done.stdout
    assert "2 passed" in done.stdout
    assert len(list((tmp_path / "runs").iterdir())) == 5
    assert (tmp_path / "compared" / "compare.md").is_file()
