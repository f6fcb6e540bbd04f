"""A small real Hub: the protocol that ``huggingface_hub`` 0.20 to 2.4 speaks, over real HTTP.

Standard library only (``tunematrix.hub.models`` aside), so it shares no version with any cell.
"""
