"""The reference's API, also where there is no MMDetection."""

from fgclip2_det.compat import lvis_numpy

lvis_numpy.install()
