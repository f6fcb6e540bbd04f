"""How a cell's tests run the pipeline: import the stack once, run every stage in a separate child process.

Runs inside a cell, beside the pipeline; pytest loads ``tunematrix.harness.plugin``.
"""
