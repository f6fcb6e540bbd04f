"""What one stack saves and another reads: artifacts, written here and read from any other cell."""
