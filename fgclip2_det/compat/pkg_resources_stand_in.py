"""The subset of ``pkg_resources`` that mmengine 0.10.7 uses.

setuptools 81 removed the module. ``mm_packages.py`` loads this file under that name
if nothing else provides it.
"""

from importlib import metadata

DistributionNotFound = metadata.PackageNotFoundError


class Distribution:
    """An installed distribution.

    Args:
        name: as pip lists it.
    """

    def __init__(self, name: str) -> None:
        self.files = metadata.distribution(name)
        self.version = self.files.version
        self.location = str(self.files.locate_file(''))

    def has_metadata(self, name: str) -> bool:
        return self.files.read_text(name) is not None

    def get_metadata(self, name: str) -> str | None:
        return self.files.read_text(name)


def get_distribution(name: str) -> Distribution:
    """The distribution; raises ``DistributionNotFound`` if it is not installed."""
    return Distribution(name)
