"""What happens around a training step: hooks, work dirs, launching.

Without the mm packages ``files`` alone works.
"""

from fgclip2_det import HAS_MM

if HAS_MM:
    from . import file_backend, hooks, layer_decay, strategies  # noqa: F401
