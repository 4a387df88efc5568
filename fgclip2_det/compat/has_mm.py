"""``HAS_MM``: whether the mm packages are installed; importing this prepares them."""

from fgclip2_det.compat import prepare

HAS_MM = prepare()
