"""Independent streams of random numbers, each named by what it is for."""

from __future__ import annotations

import hashlib

import torch


def generator(*key: int | str) -> torch.Generator:
    """A generator whose stream depends on `key` alone: the same on every machine, and unrelated to
    that of any other key and to torch's global generator."""
    digest = hashlib.sha256(repr(key).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
