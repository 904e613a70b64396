"""edgenet as a wheel, made of the very files that this process runs.

A pure-Python wheel is a zip with three files beside the package (packaging.python.org, "Binary
distribution format"). pip would build the same, but needs a checkout and setuptools, which an
installed edgenet does not have; and this one has the same bytes whenever the files have.
"""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path

import edgenet

_WHEEL = "Wheel-Version: 1.0\nGenerator: edgenet\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_SCRIPTS = "[console_scripts]\nedgenet = edgenet.cli.main:main\n"
_PACKAGE = Path(edgenet.__file__).parent


@dataclass(frozen=True)
class Wheel:
    """A wheel file in memory."""

    content: bytes
    """The zip."""
    requirements: tuple[str, ...]
    """What it needs besides, as pip takes it."""

    @property
    def name(self) -> str:
        """Its file name."""
        return f"edgenet-{edgenet.__version__}-py3-none-any.whl"

    @property
    def digest(self) -> str:
        """The version and what tells two builds of it apart."""
        return f"{edgenet.__version__}-{hashlib.sha256(self.content).hexdigest()[:12]}"


def build(package: Path = _PACKAGE) -> Wheel:
    """The wheel of this process's own edgenet."""
    about = distribution("edgenet")
    info = f"edgenet-{edgenet.__version__}.dist-info"
    files = {
        f"edgenet/{path.relative_to(package).as_posix()}": path.read_bytes()
        for path in sorted(package.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
    metadata = (about.read_text("METADATA") or about.read_text("PKG-INFO") or "").encode()
    files |= {
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": _WHEEL.encode(),
        f"{info}/entry_points.txt": _SCRIPTS.encode(),
    }
    record = "".join(f"{name},{_hash(data)},{len(data)}\n" for name, data in files.items())
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name)  # of 1980: the same files make the same bytes
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data, zipfile.ZIP_DEFLATED)
    wanted = [line for line in about.requires or () if "extra ==" not in line]
    return Wheel(zipped.getvalue(), tuple(wanted))


def _hash(data: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest())
    return f"sha256={digest.rstrip(b'=').decode()}"
