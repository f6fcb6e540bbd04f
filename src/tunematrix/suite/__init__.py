"""The tests that every cell runs: the workflow, and one module for each further capability."""
