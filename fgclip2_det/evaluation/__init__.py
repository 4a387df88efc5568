"""Benchmark protocols and metrics, on arrays: no mm package, no PyTorch."""
