"""Schemes in a file of the user's own: `train.scheme: ./my_scheme.py`.

The file is Python, and is executed by every process of the run that reads the topology (the fork
server, each rank of torchrun): whoever can write it can do what the user can. So it is a file on
this machine, named by its path; nothing is ever fetched. What was read is what is executed, what
goes into the plan's digest (nodes with different code do not link), and what the run's folder gets.
"""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import sys
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import get_origin, get_type_hints

from edgenet.errors import TopologyError
from edgenet.node.options import TYPES
from edgenet.schemes import SCHEMES, Role, Scheme
from edgenet.topology.spec import Topology

MAX_BYTES = 1_000_000
"""A larger file is not a scheme."""
NAME = "SCHEME"
"""What the file must call its Scheme."""


@dataclass(frozen=True, kw_only=True)
class Code:
    """The file that a scheme came from."""

    file: str
    """Its name, without folders."""
    content: bytes = field(repr=False)
    """What was executed."""


def is_path(name: str) -> bool:
    """Whether `train.scheme` names a file and not one of edgenet's own schemes."""
    return "/" in name or "\\" in name or name.endswith(".py")


def load_scheme(topology: Topology) -> tuple[Scheme, Code]:
    """The scheme in the file that `train.scheme` names.

    A path in the topology file is relative to that file; one from the command line (`--set
    train.scheme=...`) is relative to the current folder, as paths there are.

    Raises:
        TopologyError: no such file; its code fails (with its file and line); or what it calls
            SCHEME cannot be one.
    """
    where, path = topology.where("train.scheme"), _path(topology)
    content = _read(where, path)
    module = _execute(where, path, content)
    scheme = getattr(module, NAME, None)
    place = f"{where}: {path}:{_line(content)}"
    if not isinstance(scheme, Scheme):
        raise TopologyError(
            f"{where}: {path} defines no {NAME}; end it with "
            f"{NAME} = Scheme(name=..., summary=..., roles=(...))"
        )
    wrong = _wrong(scheme) or _wrong_options(scheme)
    if wrong is not None:
        raise TopologyError(f"{place}: {wrong}")
    return scheme, Code(file=path.name, content=content)


def _path(topology: Topology) -> Path:
    name, where = topology.train.scheme, topology.where("train.scheme")
    if "://" in name:
        raise TopologyError(
            f"{where}: train.scheme is '{name}'; code is never loaded from a link: save the file, "
            "read it, and name its path"
        )
    if not name.endswith(".py"):
        raise TopologyError(
            f"{where}: train.scheme is '{name}', which is no scheme of edgenet and no Python file; "
            "name one like ./my_scheme.py (`edgenet new-scheme my_scheme` writes one)"
        )
    folder = Path() if "train.scheme" in topology.settings else Path(topology.file).parent
    return folder / name


def _read(where: str, path: Path) -> bytes:
    base = "the current folder" if where.startswith("--set") else "the topology file"
    if not path.is_file():
        raise TopologyError(
            f"{where}: {path}: no such file; the path of a scheme is relative to {base} "
            "(`edgenet new-scheme NAME` writes one)"
        )
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise TopologyError(f"{where}: {path}: {error.strerror or error}") from None
    if len(content) > MAX_BYTES:
        raise TopologyError(f"{where}: {path}: larger than 1 MB; a scheme is a few kB")
    return content


def _execute(where: str, path: Path, content: bytes) -> ModuleType:
    """The file as a module. The same file with the same content is executed once a process."""
    digest = hashlib.sha256(str(path.resolve()).encode() + b"\0" + content).hexdigest()
    name = f"edgenet_scheme_{digest[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    module = ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module  # dataclasses look up their own module
    try:
        exec(compile(content, str(path), "exec", dont_inherit=True), module.__dict__)
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, KeyboardInterrupt):
            raise
        raise TopologyError(f"{where}: {_told(path, error)}") from error
    return module


def _told(path: Path, error: BaseException) -> str:
    """'my_scheme.py:12: NameError: ...': the last line of the user's file that was reached."""
    if isinstance(error, SyntaxError):
        return f"{path}:{error.lineno or 1}: {type(error).__name__}: {error.msg}"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path)]
    what = str(error).partition("\n")[0]
    return f"{path}:{lines[-1] if lines else 1}: {type(error).__name__}: {what}"


def _line(content: bytes) -> int:
    """Where the file defines its scheme; 1 where it imports it."""
    for node in ast.parse(content).body:
        targets = node.targets if isinstance(node, ast.Assign) else ()
        if any(isinstance(target, ast.Name) and target.id == NAME for target in targets):
            return node.lineno
    return 1


def _wrong(scheme: Scheme) -> str | None:
    """What a run with this scheme would stumble over, as a sentence."""
    if scheme.name in SCHEMES:
        return f"{NAME} is called '{scheme.name}' like one of edgenet's own; give it another name"
    roles = {role.name: role for role in scheme.roles if isinstance(role, Role)}
    if not roles or len(roles) != len(scheme.roles):
        return f"the roles of {NAME} must be a tuple of at least one Role, each with its own name"
    if sum(role.many and not role.placed for role in roles.values()) > 1:
        return f"{NAME} has two roles of many; at most one takes all the nodes that are left"
    for role in roles.values():
        for peer in role.peers:
            if peer not in roles:
                return f"role '{role.name}' has the peer '{peer}'; roles are {', '.join(roles)}"
            if role.name not in roles[peer].peers:
                return (
                    f"role '{role.name}' has the peer '{peer}', but '{peer}' does not have "
                    f"'{role.name}'; a link has two ends"
                )
    return None


def _wrong_options(scheme: Scheme) -> str | None:
    """The same of its options."""
    kind = scheme.options
    if kind is None:
        return None
    if not isinstance(kind, type) or not dataclasses.is_dataclass(kind):
        return f"the options of {NAME} must be a dataclass (the class itself, not a value)"
    try:
        hints = get_type_hints(kind)
    except NameError as error:
        return f"{kind.__name__}: {error}"
    for each in dataclasses.fields(kind):
        if (get_origin(hints[each.name]) or hints[each.name]) not in TYPES:
            return (
                f"{kind.__name__}.{each.name} has a type that no topology can give; types are "
                "bool, int, float, str, tuple[str, ...] and Mapping[str, int]"
            )
        if each.default is each.default_factory is dataclasses.MISSING:
            return f"{kind.__name__}.{each.name} has no default; give it one"
    return None
