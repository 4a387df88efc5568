"""Prompt templates: one name in, several phrasings out."""

from __future__ import annotations

from collections.abc import Sequence

TEMPLATE_SETS: dict[str, tuple[str, ...]] = {
    'raw': ('{}',),
    'photo': ('a photo of a {}',),
}


def resolve_templates(templates: str | Sequence[str]) -> tuple[str, ...]:
    """Templates of a named set, or the given ones.

    Raises:
        ValueError: an unknown set, an empty list, or a template without ``{}``.
    """
    if isinstance(templates, str):
        if templates not in TEMPLATE_SETS:
            raise ValueError(
                f'templates must be one of {sorted(TEMPLATE_SETS)} or a list of '
                f"strings with '{{}}', got {templates!r}"
            )
        return TEMPLATE_SETS[templates]
    templates = tuple(templates)
    wrong = [t for t in templates if not isinstance(t, str) or t.count('{}') != 1]
    if wrong or not templates:
        raise ValueError(
            f"templates must be strings with one '{{}}' each, got {wrong or templates}"
        )
    return templates
