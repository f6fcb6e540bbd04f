"""The cells of the matrix, their locks, package releases, and the resolver."""
