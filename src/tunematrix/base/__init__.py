"""Shared by all host packages: errors, atomic file writes, TOML checks, records and the results folder."""
