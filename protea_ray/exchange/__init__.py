"""Vectors that another program computed, taken into a space of their own, marked as imported."""
