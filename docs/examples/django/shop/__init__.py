"""A shop whose orders are approved elsewhere."""
