"""The code under test: download, fine-tune and align, written as a careful user would write it.

Runs inside a cell, under the pinned stack, and does not depend on the matrix. The stack is imported only
where it is used, so that a wrong configuration is reported in a fraction of a second.
"""
