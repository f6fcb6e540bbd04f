"""What all rooms stand on: errors, atomic files, records and where they lie."""
