"""A topology is a value: a YAML file read into frozen, checked, SI-unit dataclasses."""

from edgenet.topology.load import dump, load, loads
from edgenet.topology.spec import Topology

__all__ = ["Topology", "dump", "load", "loads"]
