"""Start of every tool; a checkout works without being installed."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

from fgclip2_det.cli import run

__all__ = ['run']
