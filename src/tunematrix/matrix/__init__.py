"""The host: cells, locks, environments, runs and records. Never imports the stack under test."""
