"""Benchmarks with known truth: planted bugs, who finds them, and what a repair is worth on real images."""
