"""Few names: what a detector answers to one, two or five names, present or absent."""

from .asks import DEFAULT_KS, Ask, draw_asks
from .scores import score_asks

__all__ = ['DEFAULT_KS', 'Ask', 'draw_asks', 'score_asks']
