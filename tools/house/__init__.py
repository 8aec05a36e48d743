"""Figures of the source tree that anyone can compute again: `python -m tools.house`."""
