"""Questions before a bump: upgrade, bisect, bounds."""
