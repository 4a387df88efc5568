"""Benchmark protocols and metrics, on arrays: no mm package, no PyTorch."""

from .evaluate import Evaluation, evaluate_file

__all__ = ['Evaluation', 'evaluate_file']
