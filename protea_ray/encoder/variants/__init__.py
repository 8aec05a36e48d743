"""Attention that is not exact: each variant a function of one window's q, k and v, `attend_variant` for all of them.

Every function takes and returns (1, H, L, d) and is made of scaled-dot-product calls and matrix products, so it has
gradients and never holds L x L numbers. Rows 0 and L - 1 are the special tokens.
"""

from protea_ray.encoder.variants.dispatch import attend_variant, checked_error

__all__ = ["attend_variant", "checked_error"]
