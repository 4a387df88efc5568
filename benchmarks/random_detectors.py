"""Detectors of transformers at their released size, with random weights."""

from __future__ import annotations

from pathlib import Path

import torch

from fgclip2_det.vocabulary import load_list


def mm_grounding_dino(folder: Path, seed: int = 0) -> Path:
    """Swin-T, BERT-base, 900 queries: the architecture of MM Grounding DINO and LLMDet.

    Args:
        folder: for weights, processor, and a tokenizer that knows LVIS's words.
        seed: of the weights.
    """
    import transformers as T

    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    swin = T.SwinConfig(
        embed_dim=96, depths=[2, 2, 6, 2], num_heads=[3, 6, 12, 24], window_size=7,
        out_features=['stage2', 'stage3', 'stage4'],
    )  # fmt: skip
    config = T.MMGroundingDinoConfig(backbone_config=swin, text_config=T.BertConfig())
    T.MMGroundingDinoForObjectDetection(config).save_pretrained(folder)
    words = {word for name in load_list('lvis').names for word in _words(name)}
    signs = {chr(code) for code in range(33, 127)}
    words |= signs | {f'##{sign}' for sign in signs}  # other words letter by letter
    special = '[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'
    vocab = [*special, *sorted(words)]
    (folder / 'vocab.txt').write_text('\n'.join(vocab), encoding='utf-8')
    tokenizer = T.BertTokenizerFast(vocab=str(folder / 'vocab.txt'))
    images = T.GroundingDinoImageProcessorPil(
        size=dict(shortest_edge=800, longest_edge=1333)
    )
    T.GroundingDinoProcessor(images, tokenizer).save_pretrained(folder)
    return folder


def rt_detr(folder: Path, seed: int = 0) -> Path:
    """RT-DETR R50, 80 classes, 640 x 640."""
    import transformers as T

    torch.manual_seed(seed)
    names = dict(enumerate(load_list('coco').names))
    config = T.RTDetrConfig(
        id2label=names, label2id={name: label for label, name in names.items()}
    )
    T.RTDetrForObjectDetection(config).save_pretrained(folder)
    T.RTDetrImageProcessorPil().save_pretrained(folder)
    return folder


def _words(name: str) -> list[str]:
    for sign in '_()-/':
        name = name.replace(sign, ' ')
    return name.lower().split()
