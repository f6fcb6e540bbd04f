"""Summaries, comparisons and answers for people: on the terminal, in Markdown and as JSON."""
