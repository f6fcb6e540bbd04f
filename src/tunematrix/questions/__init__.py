"""Upgrade questions, answered by running candidates: upgrade, bisect, bounds."""
