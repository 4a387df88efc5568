"""Another detector's predictions re-scored, dumped and tuned."""

from fgclip2_det.compat import mm  # noqa: F401, before mmdet
