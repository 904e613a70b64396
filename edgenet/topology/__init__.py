"""A topology is a value: a YAML file read into frozen, checked, SI-unit dataclasses."""
