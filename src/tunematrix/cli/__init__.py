"""The commands, one module a group, and what nox and CI services call."""
