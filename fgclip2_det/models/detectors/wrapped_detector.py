"""The detector that a re-scorer wraps: its config and what its names compete with."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mmdet.models.detectors import BaseDetector
from mmengine.config import Config

# an outside world for detectors that do not say what they were trained on
BROAD_NAMES = dict(lists=['coco', 'objects365'])


def competitors_of(detector: BaseDetector) -> dict | bool:
    """Options that a detector of this package has, or :data:`BROAD_NAMES`."""
    if not hasattr(detector, 'competitors'):
        return BROAD_NAMES
    own: Any = detector.competitors
    return False if own is None else asdict(own.options)


def model_config(detector: dict | str | os.PathLike) -> dict:
    """A model config, or that of a config file; FileNotFoundError without one."""
    if isinstance(detector, dict):
        return detector
    if not Path(detector).is_file():
        raise FileNotFoundError(f'there is no config {detector} of a detector')
    return Config.fromfile(detector).model
