"""Running one cell, from its lock to its record. Nothing here judges a record."""
