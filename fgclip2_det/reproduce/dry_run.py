"""Small data and random weights in the released layouts, to run a command without
either."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from fgclip2_det.fgclip2 import FGCLIP2
from fgclip2_det.io import InputError
from fgclip2_det.reproduce.dry_run_data import captions, names, write_data
from fgclip2_det.reproduce.releases import FGCLIP1, reads_version
from fgclip2_det.reproduce.run import Plan


def dry_plan(plan: Plan, seed: int = 0) -> Plan:
    """The same plan on data and weights that are made up below its ``out``.

    What is there is kept, so that a stopped dry run continues.

    Raises:
        InputError: a detector or an encoder that cannot be made small.
    """
    detector, out = plan.detector_release, plan.out / 'dry-run'
    if detector is not None and not detector.architecture.startswith('llmdet'):
        raise InputError(
            f'a dry run has no small {plan.detector}; take llmdet-tiny, or give a '
            'result list'
        )
    data, weights = out / 'data', out / 'weights'
    _once(data, lambda: write_data(data, seed))
    encoder = replace(
        plan.encoder_release, num_tensors=None, num_parameters=None, sha256=None
    )
    folder = encoder.folder(weights)
    _once(folder, lambda: _write_encoder(folder, encoder.version, seed))
    if detector is not None:
        detector = replace(detector, sha256=None)
        own = detector.folder(weights)
        _once(own, lambda: write_detector(own, seed))
    return replace(
        plan,
        benchmark=replace(plan.benchmark, num_images=None, num_names=None),
        detector_release=detector,
        encoder_release=encoder,
        data_root=data,
        weights=weights,
        out=out / 'results',
        shard_size=min(plan.shard_size, 2),
        dry_run=True,
    )


def _once(folder: Path, write: Callable[[], None]) -> None:
    """Write a folder unless it is there in full."""
    marker = folder.with_name(f'.{folder.name}.complete')
    if not marker.exists():
        write()
        marker.touch()


def _write_encoder(folder: Path, version: int, seed: int) -> None:
    if not reads_version(version):
        raise InputError('this version of the package does not read FG-CLIP 1')
    kind: Any = FGCLIP2 if version == 2 else import_module(FGCLIP1).FGCLIP1
    generator = torch.Generator().manual_seed(seed)
    kind.from_size('tiny', generator=generator).save_pretrained(folder)


def write_detector(folder: Path, seed: int = 0) -> None:
    """A two-layer LLMDet that knows the words of the dry run, with its processor."""
    import transformers

    T: Any = transformers
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    small = dict(layers=2, ffn_dim=32, attention_heads=2)
    layers = {f'{p}_{k}': v for p in ('encoder', 'decoder') for k, v in small.items()}
    texts = ' '.join([*names(), *captions()]).replace('_', ' ').lower()
    words = sorted(set(re.findall('[a-z]+', texts)))
    words = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', *".?()-'/&", *words]
    config = T.MMGroundingDinoConfig(
        backbone_config=T.SwinConfig(
            embed_dim=16, depths=[1] * 4, num_heads=[1, 2, 2, 2], window_size=4,
            image_size=96, out_features=['stage2', 'stage3', 'stage4'],
        ),
        text_config=T.BertConfig(
            hidden_size=32, intermediate_size=32, num_hidden_layers=1,
            num_attention_heads=2, vocab_size=len(words),
        ),
        d_model=32, num_queries=20, **layers,
    )  # fmt: skip
    T.MMGroundingDinoForObjectDetection(config).save_pretrained(folder)
    (folder / 'vocab.txt').write_text('\n'.join(words), encoding='utf-8')
    tokenizer = T.BertTokenizerFast(vocab=str(folder / 'vocab.txt'))
    size = dict(shortest_edge=96, longest_edge=160)
    images = T.GroundingDinoImageProcessorPil(size=size)
    T.GroundingDinoProcessor(images, tokenizer).save_pretrained(folder)
