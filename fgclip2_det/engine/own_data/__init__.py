"""Configs of own data: COCO files, and some lines on a config of this project."""

from .files import OwnFiles, plan_files, write_files
from .options import DETECTORS, SIZES, TRAINED, OwnOptions
from .own_config import own_config
from .swap_config import swap_config

__all__ = [
    'DETECTORS',
    'SIZES',
    'TRAINED',
    'OwnFiles',
    'OwnOptions',
    'own_config',
    'plan_files',
    'swap_config',
    'write_files',
]
