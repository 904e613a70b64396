"""The house keeps its rules, and the checker of the rules notices when one is broken."""

from __future__ import annotations

from pathlib import Path

import pytest
from layer_rules import FILE_LINES, FUNCTION_LINES, violations

ROOT = Path(__file__).parents[1]


def test_the_house_keeps_its_rules() -> None:
    assert violations(ROOT) == []


def tree(root: Path, files: dict[str, str]) -> list[str]:
    """What the checker finds in a made-up tree; each folder gets an __init__."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        if path.is_relative_to(root / "edgenet"):
            for folder in (path.parent, root / "edgenet"):
                (folder / "__init__.py").touch()
    return violations(root)


FINE = {
    "edgenet/errors.py": "class EdgenetError(Exception): ...",
    "edgenet/topology/spec.py": "import yaml\nfrom edgenet.errors import EdgenetError",
    "edgenet/links/protocol.py": "import torch\nfrom ..errors import EdgenetError",
    "edgenet/links/gloo.py": "import torch.distributed as dist\nfrom . import protocol",
    "edgenet/schemes/fedavg.py": "from edgenet.links.protocol import Link\nimport edgenet.errors",
    "edgenet/results/tensorboard.py": "def f():\n    import torch.utils.tensorboard",
    "edgenet/data/cifar.py": "import pickle",
    "edgenet/node/build.py": "import torch\ntorch.load('x', weights_only=True)",
    "edgenet/cli/main.py": "from edgenet import node, results, links",
    "benchmarks/overhead.py": "import torch.distributed",
    "launch/local.py": "print(1)",
}


def test_a_clean_tree_is_clean(tmp_path: Path) -> None:
    assert tree(tmp_path, FINE) == []


LONG_FILE = "x = 1\n" * (FILE_LINES + 1)
LONG_FUNCTION = "def f():\n" + "    x = 1\n" * FUNCTION_LINES
LONG_METHOD = "class A:\n    async def f(self):\n" + "        x = 1\n" * FUNCTION_LINES


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("edgenet/topology/a.py", "from edgenet.node import build", "(layer 1) imports"),
        ("edgenet/topology/a.py", "from edgenet import cli", "imports edgenet.cli (layer 7)"),
        ("edgenet/errors.py", "import edgenet.units\nimport edgenet.topology", ":2: errors"),
        ("edgenet/links/a.py", "from ..models.layers import x", "imports edgenet.models.layers"),
        ("edgenet/links/a.py", "def f():\n    import edgenet.models", ":2: links"),
        ("edgenet/links/a.py", "if 1:\n  from edgenet.schemes import x", "edgenet.schemes"),
        ("edgenet/__init__.py", "from .cli import main", "edgenet (layer 0) imports edgenet.cli"),
        ("edgenet/links/a.py", "import importlib as i\nimport_module('edgenet.cli')", "layer 7"),
        ("edgenet/attic/a.py", "x = 1", "room 'attic' has no layer"),
        ("edgenet/schemes/a.py", "from edgenet.links.gloo import x", "may not import"),
        ("edgenet/schemes/a.py", "from edgenet.links import gloo", "may not import"),
        ("edgenet/schemes/a.py", "import edgenet.links", "may not import edgenet.links;"),
        ("edgenet/schemes/a.py", "from edgenet.meters import Journal", "may not import"),
        ("edgenet/results/a.py", "from edgenet.schemes import fedavg", "may not import"),
        ("edgenet/topology/a.py", "import torch", "topology must not import torch"),
        ("edgenet/meters/a.py", "def f():\n    from torch import nn", "meters must not import"),
        ("edgenet/devices/a.py", "import torchvision.transforms", "devices must not import torch"),
        ("edgenet/results/a.py", "def f():\n    import torch", "results must not import torch"),
        ("edgenet/results/tensorboard.py", "import torch.utils", "results must not import torch"),
        ("edgenet/links/a.py", "import torch.distributed as d", "belongs in edgenet.links.gloo"),
        ("edgenet/links/a.py", "from torch import distributed", "belongs in edgenet.links.gloo"),
        ("edgenet/node/a.py", "import torch\ntorch.distributed.barrier()", ":2: torch.distributed"),
        ("edgenet/node/a.py", "from torch.distributed import nn", "belongs in edgenet.links.gloo"),
        ("edgenet/data/a.py", "import pickle", "imports pickle, which can run code"),
        ("edgenet/links/a.py", "from marshal import loads", "imports marshal"),
        ("benchmarks/a.py", "import shelve", "imports shelve"),
        ("edgenet/node/a.py", "import torch\ntorch.load('x')", "without weights_only=True"),
        ("launch/a.py", "import torch\ntorch.load('x', weights_only=False)", "without weights"),
        ("edgenet/node/a.py", "from torch import load", "call it as torch.load"),
        ("edgenet/data/a.py", "numpy.load('x', allow_pickle=True)", "allow_pickle"),
        ("edgenet/cli/a.py", LONG_FILE, f"{FILE_LINES + 1} lines"),
        ("benchmarks/a.py", LONG_FILE, f"{FILE_LINES + 1} lines"),
        ("edgenet/cli/a.py", LONG_FUNCTION, f"f has {FUNCTION_LINES + 1} lines"),
        ("launch/a.py", LONG_METHOD, f"f has {FUNCTION_LINES + 1} lines"),
    ],
)
def test_a_broken_rule_is_named(tmp_path: Path, name: str, text: str, said: str) -> None:
    found = tree(tmp_path, FINE | {name: text})
    assert any(said in sentence and name in sentence for sentence in found), found


def test_a_docstring_does_not_count_as_lines_of_a_function(tmp_path: Path) -> None:
    text = 'def f():\n    """' + "x\n" * 50 + '    """\n' + "    x = 1\n" * (FUNCTION_LINES - 1)
    assert tree(tmp_path, {"edgenet/cli/a.py": text}) == []


def test_rooms_of_one_layer_may_not_import_in_a_circle(tmp_path: Path) -> None:
    found = tree(
        tmp_path,
        {
            "edgenet/links/a.py": "from edgenet.shaping import a",
            "edgenet/shaping/a.py": "from edgenet.channels import a",
            "edgenet/channels/a.py": "from edgenet.links import b",
            "edgenet/links/b.py": "x = 1",
        },
    )
    assert found == ["rooms import each other: channels -> links -> shaping -> channels"]
