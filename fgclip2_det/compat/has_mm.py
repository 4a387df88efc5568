"""Whether the mm packages are installed; they are made ready when this is imported."""

from fgclip2_det.compat import prepare

HAS_MM = prepare()
