"""What the documents quote is what edgenet writes and says."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest

from edgenet.cli.main import main

ROOT = Path(__file__).parents[1]
NOT_CODE = {
    tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT,
    tokenize.ENDMARKER,
}  # fmt: skip


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def said(capsys: pytest.CaptureFixture[str], *command: str) -> str:
    """What a refused command says."""
    capsys.readouterr()
    assert main([*command]) == 2
    return capsys.readouterr().err


def test_the_readme_quotes_the_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, _, section = read("README.md").partition("\n## A topology\n")
    (topology, *_) = re.findall(r"^```yaml\n(.*?)^```$", section, re.M | re.S)
    ((command, *quoted),) = (
        each.splitlines(keepends=True)
        for each in re.findall(r"^```\n(\$ edgenet check .*?)^```$", section, re.M | re.S)
    )
    monkeypatch.chdir(tmp_path)
    Path("cameras.yaml").write_text(topology, encoding="utf-8")
    assert main(["check", "cameras.yaml"]) == 0
    assert topology.count("pi4,") == 1
    Path("cameras.yaml").write_text(topology.replace("pi4,", "pi44,"), encoding="utf-8")
    assert said(capsys, *command.split()[2:]) == "".join(quoted)


def code_lines(text: str) -> int:
    """Lines with anything but comments, docstrings and white space."""
    docstrings = {
        line
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    code = {
        line
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type not in NOT_CODE
        for line in range(token.start[0], token.end[0] + 1)
    }
    return len(code - docstrings)


def test_a_scheme_of_ones_own_has_as_many_lines_as_its_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["new-scheme", "my-scheme"]) == 0
    scheme, page = Path("my_scheme.py").read_text(encoding="utf-8"), read("docs/new-scheme.md")
    counts = re.findall(r"(\d+) lines of code(?:.* make it (\d+))?", page)
    code, whole = str(code_lines(scheme)), str(len(scheme.splitlines()))
    assert counts == [(code, ""), (code, whole)]
    assert f"{code} lines of code" in read("docs/README.md")
    mistakes = (("play=_play_learner", "play=_play_lerner"), ('peers=("server",)', "peers=()"))
    quoted = re.findall(r"^edgenet: my_scheme.yaml.*\n", page, re.M)
    for (right, wrong), quote in zip(mistakes, quoted, strict=True):
        assert scheme.count(right) == 1
        Path("my_scheme.py").write_text(scheme.replace(right, wrong), encoding="utf-8")
        assert said(capsys, "check", "my_scheme.yaml") == quote
