"""Prompt templates: several phrasings of each class name."""

from __future__ import annotations

from collections.abc import Sequence

# CLIP's 80 prompts for ImageNet (arXiv:2103.00020, section 3.1.4), by their parts:
# 38 phrasings come with 'a' and with 'the', four stand alone; their order is free
_WITH_BOTH_ARTICLES = (
    *(
        f'a {kind} of {{article}} {{{{}}}}.'
        for kind in (
            'bad photo', 'sculpture', 'low resolution photo', 'rendering',
            'cropped photo', 'bright photo', 'dark photo', 'drawing',
            'close-up photo', 'black and white photo', 'painting',
            'pixelated photo', 'jpeg corrupted photo', 'blurry photo', 'good photo',
            'doodle', 'sketch', 'rendition', 'tattoo', 'photo',
        )
    ),
    *(
        f'a photo of {{article}} {kind} {{{{}}}}.'
        for kind in ('hard to see', 'clean', 'dirty', 'cool', 'large', 'nice',
                     'weird', 'small')
    ),
    *(
        f'{{article}} {kind} {{{{}}}}.'
        for kind in ('embroidered', 'plastic', 'origami', 'toy', 'cartoon', 'plushie')
    ),
    '{article} {{}} in a video game.', 'graffiti of {article} {{}}.',
    'art of {article} {{}}.', 'itap of {article} {{}}.',
)  # fmt: skip
_ALONE = ('a photo of many {}.', 'a photo of my {}.', 'a photo of one {}.',
          'itap of my {}.')  # fmt: skip

# fmt: off
TEMPLATE_SETS: dict[str, tuple[str, ...]] = {
    'raw': ('{}',),
    'photo': ('a photo of a {}',),
    # our own: how Chinese captions speak of one thing
    'chinese': (
        '{}', '一张{}的照片', '一张有{}的图片', '照片里的{}', '画面中的{}', '一个{}',
        '一张{}的特写', '一张模糊的{}照片', '一张清晰的{}照片', '远处的{}', '小小的{}',
        '大大的{}', '被遮挡的{}', '很多{}',
    ),
    'imagenet80': (
        *(
            template.format(article=article)
            for template in _WITH_BOTH_ARTICLES
            for article in ('a', 'the')
        ),
        *_ALONE,
    ),
}
# fmt: on


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
    listed = isinstance(templates, Sequence | set | frozenset)
    templates = tuple(templates) if listed else (templates,)
    wrong = [t for t in templates if not _has_one_field(t)]
    if wrong or not templates:
        raise ValueError(
            f"templates must be strings with one '{{}}' each, got {wrong or templates}"
        )
    return templates


def _has_one_field(template: object) -> bool:
    """Whether ``template.format(name)`` works and needs the name once."""
    if not isinstance(template, str) or template.count('{}') != 1:
        return False
    return not set('{}') & set(template.replace('{}', ''))
