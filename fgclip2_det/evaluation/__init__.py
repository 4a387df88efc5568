"""Benchmark protocols and metrics on NumPy arrays, without mm packages and PyTorch."""

from .evaluate import Evaluation, evaluate_file

__all__ = ['Evaluation', 'evaluate_file']
