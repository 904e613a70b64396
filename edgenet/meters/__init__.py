"""Measuring: events that a node appends to its own file, and nothing derived from them."""

from edgenet.meters.journal import Journal

__all__ = ["Journal"]
