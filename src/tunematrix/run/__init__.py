"""One cell, from its lock to its record. Knows no verdicts."""
