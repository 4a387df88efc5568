"""FG-CLIP 2's 8 tasks and 29 sets: the command of each, and how it was verified."""

from __future__ import annotations

from dataclasses import dataclass

_SMALL = 'released layout on small files in the tests, oracle 100 %'
_BOTH = f'{_SMALL}, noise below'
_PART = f'{_BOTH}; the controls also on a part of the set with its photographs'
_LOOP = f'{_BOTH}; recall equals a loop'
_SAME = "by LIT-CN's reader, whose layout it shares: see there"
_DETECTED = (
    "AP equals lvis-api's on random results, re-scoring a loop in numpy; LLMDet's own "
    'results have not been at hand'
)
_SEGMENTED = (
    f'{_BOTH}; pixels equal a slow loop. With `--segmentor` the decoder that the paper '
    'trains: equal to slow loops, gradients too; trained on OVShapes, not on COCO-Stuff'
)
_LMM = (
    'not built: needs an LLM trained with it; its input is there, '
    '`FGCLIP2.llm_tokens`, equal to the layer that LLaVA-1.5 reads'
)


@dataclass(frozen=True)
class PublishedSet:
    """One set of the paper's evaluation.

    Args:
        task: of the paper.
        name: of the set.
        command: scripts of this project with what tells the set from others, in their
            order, separated by ', '; '' where there is none.
        verified: how the command was checked, or why there is none.
    """

    task: str
    name: str
    command: str
    verified: str


def _sets(task: str, *rows: tuple[str, str, str]) -> list[PublishedSet]:
    return [PublishedSet(task, *row) for row in rows]


def _encoder_sets(task: str, *rows: tuple[str, str, str]) -> list[PublishedSet]:
    """Sets whose command is a benchmark of an encoder: its name instead of it."""
    return [
        PublishedSet(task, name, f'tools/benchmark.py {benchmark}', verified)
        for name, benchmark, verified in rows
    ]


_LVIS = 'tools/rescore.py, tools/evaluate.py --protocol lvis-fixed'
PUBLISHED_SETS = (
    *_encoder_sets('fine-grained understanding', ('FG-OVD', 'fgovd', _PART)),
    *_encoder_sets(
        'bounding box classification',
        ('COCO80', 'coco-box', f'{_PART}; equal to a loop'),
        ('LVIS1203', 'lvis-box', _SMALL),
        ('BoxClass-CN566', 'boxclass-cn', _SMALL),
    ),
    *_sets(
        'open-vocabulary detection',
        ('LVIS minival', f'{_LVIS} --minival-ids minival.json', _DETECTED),
        ('LVIS val', _LVIS, _DETECTED),
    ),
    *_encoder_sets(
        'English retrieval',
        ('ShareGPT4V-1k', 'sharegpt4v-retrieval', _BOTH),
        ('DCI', 'dci-retrieval', _BOTH),
        ('MSCOCO', 'coco-retrieval', _LOOP),
        ('Flickr30k', 'flickr30k-retrieval', _BOTH),
    ),
    *_encoder_sets(
        'Chinese retrieval',
        ('LIT-CN', 'lit-cn', _BOTH),
        ('DCI-CN', 'dci-cn', _SAME),
        ('DOCCI-CN', 'docci-cn', _SAME),
        ('Flickr30k-CNA', 'flickr30k-cna', _BOTH),
        ('COCO-CN', 'coco-cn', _BOTH),
    ),
    *_encoder_sets(
        'image classification',
        (
            'ImageNet-1K',
            'imagenet-1k',
            f'{_SMALL}; both layouts; ranks equal a loop',
        ),
        ('ImageNet-V2', 'imagenet-v2', f'{_SMALL}, noise at chance'),
    ),
    *_encoder_sets(
        'open-vocabulary segmentation',
        ('A-847', 'ade-847', _SEGMENTED),
        ('PC-459', 'pc-459', 'as A-847'),
        ('A-150', 'ade-150', 'as A-847'),
        ('PC-59', 'pc-59', 'as A-847'),
        ('VOC-20', 'voc-20', 'as A-847'),
        ('VOC-21', 'voc-21', 'as A-847'),
    ),
    *_sets(
        'large multimodal models',
        ('GQA', '', _LMM),
        *(
            (name, '', 'as GQA')
            for name in ('MMMU', 'TextVQA', 'RefCOCO', 'MMBench-EN', 'MMBench-CN')
        ),
    ),
)
# what the paper says of itself
NUM_TASKS, NUM_SETS = 8, 29


def sets_table() -> list[str]:
    """Markdown lines: the table, and a sentence on its counts."""
    tasks = list(dict.fromkeys(each.task for each in PUBLISHED_SETS))
    lines = [
        f'The paper speaks of {NUM_TASKS} tasks and {NUM_SETS} sets and lists neither '
        f'in one place. The tables of its results give {len(tasks)} tasks and '
        f'{len(PUBLISHED_SETS)} sets, with retrieval in English and in Chinese as two '
        'tasks.',
        '',
        '| task | set | command | verified how |',
        '|---|---|---|---|',
    ]
    for each in PUBLISHED_SETS:
        parts = filter(None, each.command.split(', '))
        cell = ', then '.join(f'`{part}`' for part in parts) or '-'
        lines.append(f'| {each.task} | {each.name} | {cell} | {each.verified} |')
    return lines
