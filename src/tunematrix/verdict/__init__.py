"""Two records compared: what differs, whether it matters, and what is known about it."""
