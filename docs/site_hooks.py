"""Hooks of the documentation site (mkdocs.yml): the order of its pages, and files outside of docs/.

The pages are written to be read in the repository, where they lead to the README, to pictures of
the benchmarks and to source files. The site takes the Markdown files and the pictures along, under
project/; a link to anything else becomes its path.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
DOCS = "docs/"
ALONG = "project/"
"""Where the site has what lies outside of docs/."""
PROJECT = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/README.md")
"""Pages outside of docs/ that stand in the menu."""

_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#\s]+)(#[^)\s]*)?\)")
_TAKEN = (".md", ".png", ".svg", ".jpg")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """The menu: the pages in the order in which docs/README.md lists them, then any others."""
    index = (ROOT / DOCS / "README.md").read_text(encoding="utf-8")
    listed = [target for _, _, target, _ in _LINK.findall(index) if "/" not in target]
    known = sorted(path.name for path in (ROOT / DOCS).glob("*.md"))
    ordered = [name for name in dict.fromkeys([*listed, *known]) if name in known]
    ordered.remove("README.md")
    pages: list[Any] = [{"Overview": "README.md"}, *ordered]
    config.nav = [*pages, {"Project": [ALONG + name for name in PROJECT]}]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Takes along what the pages lead to, and what that leads to."""
    waiting = [f"{DOCS}{file.src_uri}" for file in files.documentation_pages()]
    waiting += PROJECT
    seen: set[str] = set()
    while waiting:
        path = waiting.pop()
        if path in seen or not (ROOT / path).is_file():
            continue
        seen.add(path)
        if not path.startswith(DOCS):
            files.append(File.generated(config, ALONG + path, abs_src_path=str(ROOT / path)))
        if path.endswith(".md"):
            text = (ROOT / path).read_text(encoding="utf-8")
            waiting += [target for target in _targets(text, path) if target.endswith(_TAKEN)]
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lets links lead to where the site has the file."""
    uri = page.file.src_uri
    path = uri.removeprefix(ALONG) if uri.startswith(ALONG) else DOCS + uri

    def led(link: re.Match[str]) -> str:
        picture, words, target, anchor = link.groups()
        there = _resolved(target, path)
        if there is None:
            return link[0]
        inside = there.removeprefix(DOCS) if there.startswith(DOCS) else ALONG + there
        if files.get_file_from_path(inside) is None:
            return words if words == there or words.startswith("`") else f"{words} (`{there}`)"
        lead = posixpath.relpath(inside, posixpath.dirname(uri) or ".")
        return f"{picture}[{words}]({lead}{anchor or ''})"

    return _LINK.sub(led, markdown)


def _targets(text: str, path: str) -> Iterator[str]:
    for _, _, target, _ in _LINK.findall(text):
        there = _resolved(target, path)
        if there is not None:
            yield there


def _resolved(target: str, path: str) -> str | None:
    """The path from the root of the repository; None where it is no file of it."""
    if re.match(r"[a-z]+:", target):
        return None
    there = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
    return there if os.path.exists(ROOT / there) else None
