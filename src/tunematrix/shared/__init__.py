"""What the host and the cell must agree on. Standard library only: it runs under every pinned stack."""
