"""Compare two records: what differs, whether it matters, and which known issue or change explains it."""
