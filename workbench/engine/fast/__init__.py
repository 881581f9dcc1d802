"""The fast path: one row a pair, no padding, logits only where they are needed, the reference computed once."""
