"""Hosts of the user's own: reached by ssh or by their agent, checked, installed to, started."""
