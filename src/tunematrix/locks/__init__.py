"""What is tested, exactly: the matrix, its locks, releases, and the resolver."""
