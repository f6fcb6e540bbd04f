"""What a team's own code uses of the stack, and the mechanical edits that an upgrade needs in it."""
