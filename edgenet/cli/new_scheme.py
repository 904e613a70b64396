"""Write a scheme of your own that runs as it is, to be changed from there: NAME.py (the scheme),
test_NAME.py (that it computes what plain PyTorch computes) and NAME.yaml (a network to try it on).

  edgenet new-scheme my-scheme
  edgenet run my_scheme.yaml
  python -m pytest test_my_scheme.py
  edgenet run T --set train.scheme=./my_scheme.py

The file is executed as code by every process of a run: name only files that you would run
yourself. docs/new-scheme.md tells more.
"""

from __future__ import annotations

import argparse
import keyword
import re
from importlib.resources import files
from pathlib import Path

from edgenet.errors import DONE, InputError

HELP = "write a scheme of your own, with its test"

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("name", metavar="NAME", help="its name: small letters, digits, '-', '_'")
    parser.add_argument(
        "--out", type=Path, default=Path(), metavar="DIR",
        help="the folder to write into (default: this one)",
    )  # fmt: skip


def execute(options: argparse.Namespace) -> int:
    """Write the files, and say what to do with them."""
    module = _module(options.name)
    texts = {
        f"{module}.py": "scheme.py.txt",
        f"test_{module}.py": "test.py.txt",
        f"{module}.yaml": "topology.yaml.txt",
    }
    for file in texts:
        if (options.out / file).exists():
            raise InputError(
                f"{options.out / file}: is there already; choose another name or --out"
            )
    options.out.mkdir(parents=True, exist_ok=True)
    for file, skeleton in texts.items():
        text = (files("edgenet.schemes") / "skeleton" / skeleton).read_text(encoding="utf-8")
        text = text.replace("SCHEME_NAME", options.name).replace("MODULE", module)
        (options.out / file).write_text(text, encoding="utf-8")
    scheme, test, topology = (options.out / file for file in texts)
    print(f"{scheme}: the scheme; it runs as it is:\n  edgenet run {topology}")
    print(f"{test}: what holds its mathematics:\n  python -m pytest {test}")
    return DONE


def _module(name: str) -> str:
    """The name of the Python file. Raises InputError."""
    from edgenet.schemes import SCHEMES

    module = name.replace("-", "_")
    if not _NAME.fullmatch(name) or keyword.iskeyword(module):
        raise InputError(
            f"'{name}' cannot name a scheme; a name is a small letter and then up to 39 small "
            "letters, digits, '-' or '_'"
        )
    if name in SCHEMES:
        raise InputError(f"'{name}' is one of edgenet's own schemes; choose another name")
    return module
