"""What happens around a training step: hooks, work dirs, launching."""

from . import hooks

__all__ = ['hooks']
