"""A pull request that changes pins: what it changes, the answer in one comment, and the check's result."""
