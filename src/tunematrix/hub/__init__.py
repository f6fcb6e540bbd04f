"""A small Hugging Face Hub: the protocol that ``huggingface_hub`` 0.20 to 2.4 uses, over real HTTP.

Standard library only, except for ``tunematrix.hub.models``, so it shares no package with any cell.
"""
