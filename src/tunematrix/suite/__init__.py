"""The tests that every cell runs: the seed workflow, and one module for each further capability."""
