"""The part of the results page on CCMB's sets and on R2D2's published numbers."""

from __future__ import annotations

from .suite import BENCHMARKS

_TEXT = """
## Pre-ranking and ranking (CCMB)

`python tools/benchmark.py icr icm --encoder FOLDER --ranker RANKER --data-root data
--out-dir OUT` measures the encoder alone and the encoder with a ranker in one report;
[evaluation](evaluation.md#ranking-and-matching) says how. R2D2 / CCMB is
arXiv:2205.03860, its data is at http://zero.so.com, a link to Baidu in the repository
yuxie11/R2D2. Published numbers of ICR, IQR, ICM and IQM were not obtained.
"""
_HEAD = ('set', 'benchmark', 'published counts', 'candidates', 'metrics')
_SETS = (
    ('Flickr30k-CNA', 'flickr30k-cna', 'test: 1,000 images, 5,000 captions'),
    ('ICR', 'icr', 'all splits: 200,000 pairs; of a split: none'),
    ('IQR', 'iqr', 'all splits: 200,000 pairs; of a split: none'),
    ('ICM', 'icm', 'all splits: 200,000 + 200,000 pairs; of a split: none'),
    ('IQM', 'iqm', 'all splits: 200,000 + 200,000 pairs; of a split: none'),
)
_RECALLS = '`retrieval/...` and `retrieval_ranked/...`: R@1, R@5, R@10, mean recall'
_MATCHING = '`matching/...` and `matching_ranked/...`: ROC AUC, accuracy'
_R2D2 = """
What is published of R2D2 on sets that are here, in percent: R@1, or R@1 / R@5 / R@10.
Whether a number is with ranking was not found in what was read; FG-CLIP 2's Table 5 has
them among dual encoders. Chinese-CLIP's README also has R2D2 on Flickr30k-CN, which is
another translation than Flickr30k-CNA.
"""
_NUMBERS = (
    ('R2D2 B/16', 'FG-CLIP 2, Table 5', 'flickr30k-cna', '69.7', '51.1'),
    ('R2D2 L/14', 'FG-CLIP 2, Table 5', 'flickr30k-cna', '78.8', '60.0'),
    ('R2D2 B/16', 'FG-CLIP 2, Table 5', 'coco-cn', '60.1', '45.5'),
    ('R2D2 L/14', 'FG-CLIP 2, Table 5', 'coco-cn', '69.6', '52.7'),
    (
        'R2D2 L/14, zero-shot',
        'Chinese-CLIP, README',
        'coco-cn',
        '63.3 / 89.3 / 95.7',
        '56.4 / 85.0 / 93.1',
    ),
    (
        'R2D2 L/14, fine-tuned',
        'Chinese-CLIP, README',
        'coco-cn',
        '79.3 / 97.1 / 98.7',
        '79.1 / 96.5 / 98.9',
    ),
    ('R2D2 B/16', 'FG-CLIP 2, Table 5', 'lit-cn', '35.7', '27.4'),
    ('R2D2 L/14', 'FG-CLIP 2, Table 5', 'lit-cn', '48.3', '33.3'),
    ('R2D2 B/16', 'FG-CLIP 2, Table 5', 'dci-cn', '25.9', '27.3'),
    ('R2D2 L/14', 'FG-CLIP 2, Table 5', 'dci-cn', '35.6', '34.2'),
    ('R2D2 B/16', 'FG-CLIP 2, Table 5', 'docci-cn', '36.1', '36.9'),
    ('R2D2 L/14', 'FG-CLIP 2, Table 5', 'docci-cn', '49.5', '46.3'),
)


def ranking_section() -> list[str]:
    """Lines of Markdown."""
    lines = [_TEXT, *_table(_HEAD)]
    for title, name, counts in _SETS:
        k = BENCHMARKS[name].ranker_k
        shown, metrics = (k, _RECALLS) if k else ('-', _MATCHING)
        lines.append(f'| {title} | `{name}` | {counts} | {shown} | {metrics} |')
    lines += [_R2D2, *_table(('model', 'source', 'benchmark', 'i2t', 't2i'))]
    for model, source, name, i2t, t2i in _NUMBERS:
        lines.append(f'| {model} | {source} | `{name}` | {i2t} | {t2i} |')
    return lines


def _table(titles: tuple[str, ...]) -> list[str]:
    return [f'| {" | ".join(titles)} |', '|---' * len(titles) + '|']
