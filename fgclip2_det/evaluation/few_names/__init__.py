"""Few names: what a detector answers to one, two or five names, present or absent."""

from .asks import DEFAULT_KS, Ask, draw_asks
from .asks_file import read_asks, write_asks
from .report import draw_curves, figures_table
from .scores import score_asks

__all__ = [
    'DEFAULT_KS',
    'Ask',
    'draw_asks',
    'draw_curves',
    'figures_table',
    'read_asks',
    'score_asks',
    'write_asks',
]
