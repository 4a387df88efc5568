"""The lines of a config that trains our detector on own data."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from fgclip2_det.io import InputError

from .files import OwnFiles
from .options import OwnOptions

_EMBEDDED = Path(__file__).resolve().parents[2] / 'assets/ovd_ovshapes/detector.pth'
_BASES = {
    ('tiny', 'frozen'): 'chess/ovd_fgclip2-aligned_chess.py',
    ('b16', 'frozen'): 'ov_coco/fgclip2-det_b16_sfpn_8xb8-3e_ov-coco.py',
    ('b16', 'lora'): 'ov_coco/fgclip2-det_b16_sfpn_lora_8xb8-3e_ov-coco.py',
    ('l16', 'frozen'): 'ov_coco/fgclip2-det_l16_sfpn_896_8xb8-3e_ov-coco.py',
    ('so16', 'frozen'): 'ov_coco/fgclip2-det_so16_sfpn_1024_8xb8-3e_ov-coco.py',
}
_LORA = """    backbone=dict(
        {encoder}frozen_stages=-1,
        lora=dict(r=8, alpha=16, dropout=0.0, target=('q_proj', 'v_proj')),
    ),
"""
_RETENTION = """custom_hooks = [
    *{hooks},
    dict(  # what the encoder still knows of names that are in no training image
        type='ZeroShotRetentionHook',
        dataset=dict(
            type='OVShapesDataset',
            data_root='{{{{$OVSHAPES_ROOT:data/ovshapes}}}}',
            split='val',
            num_train=1,
            num_val=60,
            test_mode=True,
            pipeline=_base_.test_pipeline,
        ),
        classes='novel',
        interval=0,
    ),
]
"""
_PARTS = """train_pipeline = [
    *_base_.train_pipeline[:2],  # the image and its boxes
    dict(type='RecolorObjects', parts=parts),  # things in the colours of others
    *_base_.train_pipeline[2:-1],
    dict(type='PackOpenVocabInputs'),
]
"""
_PARTS_HEAD = """    parts=parts,
    roi_head=dict(
        {others}bbox_head=dict(
            {weight}name_parts=dict(loss_weight=1.0{unlabelled}),
        ),
    ),
"""
_UNLABELLED = """# novel things stand there unlabelled; all others have to be labelled
            loss_cls=dict(bg_weight=0.05),
            """
_UNLABELLED_WEIGHT = ', unlabelled_weight=1.0'
_SCHEDULE = """max_epochs = {epochs}  # {steps:,} steps
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end={warm_up}),
    dict(
        type='CosineAnnealingLR',
        by_epoch=True,
        begin=0,
        end=max_epochs,
        T_max=max_epochs,
        eta_min_ratio=0.02,
        convert_to_iter_based=True,
    ),
]
"""


def own_config(files: OwnFiles, novel: list[str], options: OwnOptions) -> str:
    """Text of a config: our detector, ``novel`` names without training boxes.

    It inherits a config of ``configs/`` and sets the data, the length of the training,
    the encoder where another one is asked for, and LoRA with the retention test.

    Raises:
        InputError: no config of this project fits, as there is no such folder.
    """
    base, needs_lora = _base(options)
    batch = 2 if options.size == 'tiny' else 8
    batch = min(batch, max(1, files.num_train))
    epochs = options.num_epochs(files.num_train, batch)
    steps = epochs * max(1, -(-files.num_train // batch))
    parts = [
        f'_base_ = {posix(base)!r}\n',
        _table(options),
        _model(options, needs_lora, novel),
        f'data_root = {posix(files.data_root)!r}\n',
        f'novel_classes = {listed(novel)}\n',
        _loaders(files, batch, bool(options.parts)),
        _SCHEDULE.format(
            epochs=epochs, steps=steps, warm_up=max(1, min(50, steps // 4))
        ),
    ]
    if options.train == 'lora':
        has_hook = not needs_lora
        hooks = '_base_.custom_hooks[:-1]' if has_hook else '_base_.custom_hooks'
        parts.append(_RETENTION.format(hooks=hooks))
    return ''.join(parts)


def _base(options: OwnOptions) -> tuple[Path, bool]:
    """The config to inherit, and whether LoRA is to be added to it."""
    key = options.size, options.train
    needs_lora = options.train == 'lora' and key not in _BASES
    name = _BASES[key if key in _BASES else (options.size, 'frozen')]
    return base_config(options.configs, name), needs_lora


def base_config(configs: Path, name: str) -> Path:
    """A file of ``configs/``.

    Raises:
        InputError: it is not there, as where the package was installed without them.
    """
    path = configs / name
    if not path.is_file():
        raise InputError(
            f'there is no config {path} to inherit; run it in a checkout of this '
            'project, or name its configs with --configs'
        )
    return path


def _model(options: OwnOptions, needs_lora: bool, novel: list[str]) -> str:
    encoder = options.encoder or ('fgclip2_tiny' if options.size == 'tiny' else None)
    given = f'encoder=dict(pretrained={encoder!r}),' if encoder else ''
    lines = []
    head = 'region_loss_weight=0.5' if needs_lora else ''
    if needs_lora:
        lines.append(_LORA.format(encoder=f'{given}\n        ' if given else ''))
    elif given:
        lines.append(f'    backbone=dict({given[:-1]}),\n')
    if options.size == 'tiny':  # as the embedded detector has them, not for pieces
        lines.append('    rpn_head=dict(anchor_generator=dict(ratios=[1.0])),\n')
    if options.parts:
        if options.size == 'tiny':  # its encoder knows shapes of one colour, no things
            head = ', '.join(filter(None, [head, 'fusion=dict(beta=0.0)']))
        weight = _UNLABELLED if novel else ''
        others = head and f'{head},\n        '
        # a novel thing without parts is no pair that other names lack
        made = novel and all(name in options.parts for name in novel)
        unlabelled = _UNLABELLED_WEIGHT if made else ''
        lines.append(
            _PARTS_HEAD.format(others=others, weight=weight, unlabelled=unlabelled)
        )
    elif head:
        lines.append(f'    roi_head=dict({head}),\n')
    start = ''
    if options.size == 'tiny' and options.encoder is None:
        start = f'load_from = {posix(_EMBEDDED)!r}\n'
    return f'model = dict(\n{"".join(lines)})\n{start}' if lines else ''


def _table(options: OwnOptions) -> str:
    """The parts of names, a line each."""
    if not options.parts:
        return ''
    lines = [f'    {name!r}: {list(own)!r},\n' for name, own in options.parts.items()]
    return f'parts = {{\n{"".join(lines)}}}\n'


def _loaders(files: OwnFiles, batch: int, with_parts: bool) -> str:
    text = _PARTS if with_parts else ''
    for split in ('train', 'val', 'test'):
        if split not in files.ann_files:
            continue
        size = f'    batch_size={batch},\n' if split == 'train' else ''
        only = '        only_base=True,\n' if split == 'train' else ''
        if with_parts and split == 'train':
            only += '        pipeline=train_pipeline,\n'
        text += (
            f'{split}_dataloader = dict(\n{size}    dataset=dict(\n'
            '        data_root=data_root,\n'
            f'        ann_file={posix(files.ann_files[split])!r},\n'
            f'        data_prefix=dict(img={files.prefixes[split]!r}),\n'
            '        class_split=None,\n'
            '        novel_classes=novel_classes,\n'
            f'        {only.strip()}\n    )\n)\n'.replace('        \n', '')
        )
        if split != 'train':
            path = posix(files.ann_files[split])
            text += f'{split}_evaluator = dict(ann_file={path!r}, classwise=True)\n'
    if 'test' not in files.ann_files:
        text += 'test_dataloader = val_dataloader\ntest_evaluator = val_evaluator\n'
    return text


def listed(names: Iterable[str]) -> str:
    """A list of texts, one a line where they are many."""
    line = repr(list(names))
    if len(line) < 70:
        return line
    return '[\n' + ''.join(f'    {name!r},\n' for name in names) + ']'


def posix(path: Path) -> str:
    """An absolute path with slashes."""
    return path.resolve().as_posix()
