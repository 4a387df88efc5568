"""Short notation of the built-in lexicons."""

import re


def entries(text: str) -> list[list[str]]:
    """``'red; grey, gray'`` -> ``[['red'], ['grey', 'gray']]``."""
    return [words(entry) for entry in text.split(';') if entry.strip()]


def words(text: str) -> list[str]:
    """Split at commas, one space between the words of a term."""
    return [' '.join(word.split()) for word in re.split('[,，]', text) if word.strip()]


def pairs(word: str, others: str) -> list[list[str]]:
    """``('red', 'pink, rust')`` -> ``[['red', 'pink'], ['red', 'rust']]``."""
    return [[word, other] for other in words(others)]


def word_set(text: str) -> frozenset[str]:
    """Single words, split at spaces."""
    return frozenset(text.split())
