"""The rules of the house, checked by reading the source: layers, forbidden imports, sizes.

`violations(root)` takes the folder that holds the package `edgenet` (and `benchmarks`, `launch`)
and returns one sentence per broken rule. Nothing is imported or run.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

PACKAGE = "edgenet"

LAYERS = {
    **{"": 0, "errors": 0, "units": 0},
    **{"topology": 1, "devices": 1, "meters": 1},
    **{"links": 2, "shaping": 2, "channels": 2},
    **{"models": 3, "data": 3},
    **{"schemes": 4},
    **{"node": 5},
    **{"results": 6},
    **{"cli": 7, "launchers": 7, "web": 7, "worker": 7, "__main__": 7},
}
"""Room (folder or module directly in the package; '' is its __init__) -> layer."""

WITHOUT_TORCH = {room for room, layer in LAYERS.items() if layer <= 1} | {"results"}
TORCH_ALLOWED_LATE = {"edgenet.results.tensorboard"}
"""Modules of those rooms that may import torch inside a function."""

TORCH_DISTRIBUTED = {"edgenet.links.gloo"}
PICKLE_READERS = {"edgenet.data.cifar"}
PICKLERS = {"pickle", "cPickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"}

ONLY_FROM = {
    "schemes": {"errors", "units", "topology", "models", "data", "schemes", "links.protocol"},
    "results": {"errors", "units", "topology", "devices", "meters", "results"},
}
"""Rooms that may import less than their layer would let them."""

FILE_LINES, FUNCTION_LINES = 300, 40


@dataclass(frozen=True)
class Import:
    """One import of `target` in line `line`; `late` if it stands inside a function."""

    target: str
    line: int
    late: bool


@dataclass(frozen=True)
class Module:
    """One source file: its dotted name, its path and the names of the package's own modules."""

    name: str
    path: Path
    known: frozenset[str] = field(repr=False)

    @cached_property
    def text(self) -> str:
        """The source."""
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def tree(self) -> ast.Module:
        """The parsed source."""
        return ast.parse(self.text, filename=str(self.path))

    @property
    def room(self) -> str:
        """The part of the package that it belongs to."""
        return room_of(self.name)

    @cached_property
    def imports(self) -> tuple[Import, ...]:
        """Everything that it imports, relative names resolved, also inside functions."""
        return tuple(self._imports(self.tree, late=False))

    def _imports(self, node: ast.AST, *, late: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            for target in self._targets(child):
                yield Import(target, getattr(child, "lineno", 0), late)
            inside = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            yield from self._imports(child, late=late or inside)

    def _targets(self, node: ast.AST) -> Iterator[str]:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = self._absolute(node)
            for alias in node.names:
                full = f"{base}.{alias.name}"
                # `from a import b` may name a module or something that stands in module a.
                yield full if full in self.known or base == "torch" else base
        elif isinstance(node, ast.Call) and dotted(node.func) in _DYNAMIC:
            yield from (str(word.value) for word in node.args[:1] if isinstance(word, ast.Constant))

    def _absolute(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        here = self.name.split(".")
        keep = len(here) - node.level + (self.path.name == "__init__.py")
        return ".".join([*here[:keep], *([node.module] if node.module else [])])


_DYNAMIC = {"__import__", "import_module", "importlib.import_module"}


def dotted(node: ast.AST) -> str:
    """'a.b.c' for that expression; '' for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        base = dotted(node.value)
        return f"{base}.{node.attr}" if base else ""
    return ""


def room_of(module: str) -> str:
    """'schemes' for 'edgenet.schemes.split'; '' for 'edgenet'."""
    return module.split(".")[1] if "." in module else ""


def inside(target: str, package: str) -> bool:
    """Whether `target` is `package` or something in it."""
    return target == package or target.startswith(package + ".")


def modules(root: Path, folder: str = PACKAGE) -> list[Module]:
    """The source files under root/folder, in order of their names."""
    paths = {}
    for path in sorted((root / folder).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        paths[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    known = frozenset(paths)
    return [Module(name, path, known) for name, path in paths.items()]


def violations(root: Path) -> list[str]:
    """One sentence, with file and line, per rule that the tree under `root` breaks."""
    house = modules(root)
    around = [module for folder in ("benchmarks", "launch") for module in modules(root, folder)]
    found: list[str] = []
    for module in house:
        found += [*_rises(module), *_torch(module), *_sizes(module), *_loads(module)]
    for module in around:
        found += [*_sizes(module), *_loads(module)]
    return [*found, *_cycle(house)]


def _rises(module: Module) -> Iterator[str]:
    if module.room not in LAYERS:
        yield f"{module.path}: room '{module.room}' has no layer; give it one in {__name__}.LAYERS"
        return
    own = LAYERS[module.room]
    for item in module.imports:
        if not inside(item.target, PACKAGE) or room_of(item.target) == module.room:
            continue
        other = LAYERS.get(room_of(item.target), -1)
        where = f"{module.path}:{item.line}: {module.room or PACKAGE}"
        if other > own:
            yield f"{where} (layer {own}) imports {item.target} (layer {other})"
        allowed = ONLY_FROM.get(module.room)
        if allowed is not None and not _among(item.target, allowed):
            yield f"{where} may not import {item.target}; only {', '.join(sorted(allowed))}"


def _among(target: str, allowed: set[str]) -> bool:
    return any(inside(target, f"{PACKAGE}.{name}") for name in allowed)


def _torch(module: Module) -> Iterator[str]:
    for item in module.imports:
        where = f"{module.path}:{item.line}: "
        late = item.late and module.name in TORCH_ALLOWED_LATE
        heavy = inside(item.target, "torch") or inside(item.target, "torchvision")
        if heavy and module.room in WITHOUT_TORCH and not late:
            yield f"{where}{module.room} must not import torch"
        distributed = ("torch.distributed", "torch._C._distributed_c10d")
        if any(inside(item.target, name) for name in distributed):
            yield from _distributed(module, where)
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute) and dotted(node) == "torch.distributed":
            yield from _distributed(module, f"{module.path}:{node.lineno}: ")


def _distributed(module: Module, where: str) -> Iterator[str]:
    if module.name not in TORCH_DISTRIBUTED:
        yield f"{where}torch.distributed belongs in {', '.join(TORCH_DISTRIBUTED)} only"


def _loads(module: Module) -> Iterator[str]:
    """Nothing may unpickle: a file or a peer could then run code."""
    for item in module.imports:
        if item.target.split(".")[0] in PICKLERS and module.name not in PICKLE_READERS:
            yield f"{module.path}:{item.line}: imports {item.target}, which can run code"
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.Call):
            continue
        given = {word.arg: word.value for word in node.keywords}
        where = f"{module.path}:{node.lineno}: "
        if dotted(node.func) == "torch.load" and not _is(given.get("weights_only"), True):
            yield f"{where}torch.load without weights_only=True"
        if "allow_pickle" in given and not _is(given["allow_pickle"], False):
            yield f"{where}allow_pickle"
    for item in module.imports:
        if item.target in ("torch.load", "torch.serialization"):
            yield f"{module.path}:{item.line}: call it as torch.load(..., weights_only=True)"


def _is(node: ast.expr | None, value: bool) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def _sizes(module: Module) -> Iterator[str]:
    lines = len(module.text.splitlines())
    if lines > FILE_LINES:
        yield f"{module.path}: {lines} lines; the limit is {FILE_LINES}"
    for node in ast.walk(module.tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            long = _length(node)
            if long > FUNCTION_LINES:
                where = f"{module.path}:{node.lineno}: "
                yield f"{where}{node.name} has {long} lines; the limit is {FUNCTION_LINES}"


def _length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from `def` to the end, without the docstring."""
    length = (function.end_lineno or function.lineno) - function.lineno + 1
    if ast.get_docstring(function) is not None:
        text = function.body[0]
        length -= (text.end_lineno or text.lineno) - text.lineno + 1
    return length


def _cycle(house: list[Module]) -> Iterator[str]:
    """Rooms that import each other in a circle (at most the first one is named)."""
    uses: dict[str, set[str]] = {}
    for module in house:
        targets = {room_of(item.target) for item in module.imports if inside(item.target, PACKAGE)}
        uses.setdefault(module.room, set()).update(targets - {module.room})
    done: set[str] = set()
    for room in uses:
        circle = _circle(room, uses, (), done)
        if circle:
            yield "rooms import each other: " + " -> ".join(name or PACKAGE for name in circle)
            return


def _circle(
    room: str, uses: dict[str, set[str]], path: tuple[str, ...], done: set[str]
) -> tuple[str, ...]:
    if room in path:
        return (*path[path.index(room) :], room)
    if room in done:
        return ()
    for other in sorted(uses.get(room, ())):
        circle = _circle(other, uses, (*path, room), done)
        if circle:
            return circle
    done.add(room)
    return ()
