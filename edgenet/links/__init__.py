"""Connections between nodes: what travels, how it is framed, who may join, what it cost."""
