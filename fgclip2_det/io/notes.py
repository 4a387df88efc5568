"""Warnings that are logged once."""

from __future__ import annotations

import logging

_LOGGER = logging.getLogger('fgclip2_det')
_SAID: set[object] = set()


def say_once(message: str, key: object = None) -> None:
    """Log a warning once per process.

    Args:
        message: one sentence.
        key: what makes two messages the same; the message itself when None.
    """
    key = message if key is None else key
    if key not in _SAID:
        _SAID.add(key)
        _LOGGER.warning(message)
