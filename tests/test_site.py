"""The documentation as a site: it builds without a warning, and needs no network."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from browser import browser
from facilities import needs

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, as `make docs` builds it."""
    folder = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict"]
    done = subprocess.run(
        [*build, "--config-file", str(ROOT / "mkdocs.yml"), "--site-dir", str(folder)],
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return folder


def test_every_page_is_there_and_leads_to_its_like(site: Path) -> None:
    pages = {path.stem for path in (ROOT / "docs").glob("*.md")} - {"README"}
    assert pages <= {path.stem for path in site.glob("*.html")}
    index = (site / "index.html").read_text(encoding="utf-8")
    for page in (*pages, "project/index", "project/CONTRIBUTING", "project/benchmarks/index"):
        assert f'href="{page}.html"' in index, page
    networks = (site / "networks.html").read_text(encoding="utf-8")
    assert 'src="project/benchmarks/results/trace_link.png"' in networks
    assert (site / "project/benchmarks/results/trace_link.png").is_file()


@needs("chromium")
@pytest.mark.parametrize("width", [1280, 390])
def test_the_search_works_on_files(site: Path, width: int) -> None:
    hits = "[...document.querySelectorAll('.md-search-result__link')].map(each => each.href)"
    with browser() as tab:
        tab.open((site / "index.html").as_uri(), width=width)
        if width == 390:
            tab.value("document.querySelector('label[for=__search]').click()")
        tab.value("document.querySelector('.md-search__input').focus()")
        tab.call("Input.insertText", text="peak_stash_bytes")
        tab.call("Input.dispatchKeyEvent", type="keyUp", key="s")  # the search listens to keys
        tab.until(f"{hits}.length > 0")
        assert any("figures.html" in each for each in tab.value(hits))
        assert tab.value(f"{hits}.every(each => each.startsWith('file:'))")
        assert tab.complaints == []


@needs("chromium")
@pytest.mark.parametrize("width", [1280, 390])
def test_pages_need_no_network_and_fit_a_phone(site: Path, width: int) -> None:
    with browser() as tab:
        for page in ("index", "figures", "commands", "compared", "project/index"):
            tab.open((site / f"{page}.html").as_uri(), width=width)
            assert tab.value("document.querySelector('h1').textContent")
            assert (tab.too_wide, tab.complaints) == (0, []), page
