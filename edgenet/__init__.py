"""edgenet: a real multi-process distributed testbed for learning at the network edge."""

__version__ = "0.1.0.dev0"
