"""How a cell's tests run the pipeline: the stack imported once, every stage in a child of its own.

Runs inside a cell, beside the pipeline; pytest loads ``tunematrix.harness.plugin``.
"""
