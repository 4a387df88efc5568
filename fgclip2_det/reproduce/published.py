"""Numbers that others have published, in the order of a table's columns, in percent."""

from __future__ import annotations

from dataclasses import dataclass

FGCLIP2_PAPER = 'FG-CLIP 2 (arXiv:2510.10921), Table 3'
_LLMDET = "LLMDet's repository (iSEE-Laboratory/LLMDet)"
_MM = "MMDetection's configs/mm_grounding_dino"
_WEDETECT = 'WeDetect (CVPR 2026); its flavour of AP is not known'
_OBJEMBED = "ObjEmbed's table of detectors"
_OBJEMBED_FGOVD = f'{_OBJEMBED}; its number of negatives is not known'

Values = tuple[float | None, ...]


@dataclass(frozen=True)
class Published:
    """Numbers of one row.

    Args:
        values: one for each column; None where a column is not published.
        source: of them.
    """

    values: Values
    source: str


def _fixed(rows: dict[tuple[str, str], tuple[Values, Values]], source: str) -> dict:
    """Fixed AP of minival and of val, by detector and encoder."""
    return {
        (benchmark, *key): Published(values, source)
        for key, pair in rows.items()
        for benchmark, values in zip(('lvis-minival', 'lvis-val'), pair, strict=True)
    }


# (benchmark, detector, encoder or '') -> the benchmark's first table
PUBLISHED: dict[tuple[str, str, str], Published] = {
    **_fixed(
        {
            ('llmdet-tiny', ''): ((44.7, 37.3, 39.5, 50.7), (34.9, 26.0, 30.1, 44.3)),
            ('llmdet-tiny', 'fgclip2-base'): (
                (51.6, 47.5, 50.7, 53.2),
                (44.0, 37.4, 42.8, 48.2),
            ),
            ('llmdet-tiny', 'fgclip2-large'): (
                (52.6, 48.6, 51.8, 54.0),
                (45.5, 41.0, 44.2, 49.0),
            ),
            ('llmdet-tiny', 'fgclip2-so400m'): (
                (53.1, 50.8, 52.3, 54.2),
                (45.9, 42.1, 44.6, 49.0),
            ),
            ('llmdet-tiny', 'fgclip1-base'): (
                (48.0, 40.6, 47.7, 51.4),
                (41.0, 35.1, 38.9, 45.8),
            ),
            ('llmdet-tiny', 'fgclip1-large'): (
                (50.5, 41.9, 49.3, 53.1),
                (43.1, 37.0, 41.3, 47.7),
            ),
        },
        FGCLIP2_PAPER,
    ),
    **_fixed(
        {
            ('llmdet-base', ''): ((48.3, 40.8, 43.1, 54.3), (38.5, 28.2, 34.3, 47.8)),
            ('llmdet-large', ''): ((51.1, 45.1, 46.1, 56.6), (42.0, 31.6, 38.8, 50.2)),
        },
        _LLMDET,
    ),
    **_fixed(
        {
            ('mm-grounding-dino-tiny', ''): (
                (41.4, 34.2, 37.4, 46.2),
                (31.9, 23.6, 27.6, 40.5),
            )
        },
        _MM,
    ),
    **_fixed(
        {('wedetect-large', ''): ((55.0, 51.1, None, None), (49.4, None, None, None))},
        _WEDETECT,
    ),
    ('fg-ovd', 'llmdet-tiny', ''): Published((15.0, 26.2, 23.8, 55.4), _OBJEMBED_FGOVD),
    ('d3', 'llmdet-tiny', ''): Published((17.2, None, None), _OBJEMBED),
}


def published(benchmark: str, detector: str, encoder: str = '') -> Published | None:
    """The published row of a detector, alone or with an encoder; None: there is none.

    Chinese names change the encoder's part alone, so that the detector's row is that of
    the English names.
    """
    if not encoder:
        benchmark = benchmark.removesuffix('-zh')
    return PUBLISHED.get((benchmark, detector, encoder))
