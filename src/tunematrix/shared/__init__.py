"""Facts that the host and the cell share. Standard library only, since cells run it under every stack."""
