"""The summary as one HTML file that needs no network: what works together, what changed, what to pin."""
