"""The code under test: download, fine-tune and align, the way a careful user writes them.

Runs inside a cell, under the pinned stack, and knows nothing of matrices. The stack is imported only
where it is used, so that a wrong configuration is told in a fraction of a second.
"""
