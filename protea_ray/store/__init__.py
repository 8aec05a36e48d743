"""The store: one URI, one Lance table per kind of fact, written by one driver at a time."""
