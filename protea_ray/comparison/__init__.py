"""The ways to compute a model's vectors set side by side: how near to exact, how good, and at what cost."""
