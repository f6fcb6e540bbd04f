"""The commands, one module each, and the helpers for nox and CI."""
