"""Records made readable: the summary as data, on the terminal, and in Markdown."""
