"""The same weights on a device and on the CPU: what must be equal.

``tests/gpu`` runs every check of :data:`CHECKS`, cpu against cpu in any environment and
cuda against cpu where there is a device; ``benchmarks/gpu.py`` prints their numbers.
Models are tiny and random, so that the checks take seconds.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.gpu_models import (
    NAMES,
    alignment,
    alignment_batch,
    detection_data,
    detector,
    noise_images,
    rescorer,
    swapped,
)
from fgclip2_det import FGCLIP2

LOSS, SCORE, BFLOAT16 = 1e-3, 1e-3, 0.1  # relative; absolute; relative


@dataclass(frozen=True)
class Difference:
    """How far a device is from the CPU.

    Attributes:
        what: the values compared.
        value: their largest difference, as a share of the CPU's largest value, or
            what share of predictions has no partner.
        limit: what ``value`` may be.
    """

    what: str
    value: float
    limit: float

    @property
    def passed(self) -> bool:
        return self.value <= self.limit  # False for NaN


def largest(ours: Tensor, theirs: Tensor) -> float:
    """Largest difference between (...) and (...), over the largest value or 1e-3."""
    if ours.shape != theirs.shape:
        raise ValueError(f'shapes differ: {tuple(ours.shape)}, {tuple(theirs.shape)}')
    ours, theirs = (x.detach().double().cpu() for x in (ours, theirs))
    if not theirs.numel():
        return 0.0
    return float((ours - theirs).abs().max() / theirs.abs().max().clamp(min=1e-3))


def autocast(device: str, bfloat16: bool):
    return torch.autocast(device, torch.bfloat16) if bfloat16 else nullcontext()


def copied(module: nn.Module, device: str) -> nn.Module:
    return copy.deepcopy(module).to(device)


def encoder_outputs(encoder: FGCLIP2, device: str) -> dict[str, Tensor]:
    """Every output of an encoder on two images of different size."""
    encoder = copied(encoder, device)
    batch = encoder.preprocess(noise_images()).to(device)
    boxes = [[[4.0, 8, 60, 90], [20, 3, 150, 40]], [[0.0, 0, 96, 128]]]
    boxes = [torch.tensor(rows, device=device) for rows in boxes]
    with torch.no_grad():
        outputs = dict(
            image=encoder.encode_image(batch),
            dense=torch.cat([x.flatten() for x in encoder.dense_features(batch)]),
            regions=torch.cat(encoder.region_features(batch, boxes)),
            logits=encoder(batch, NAMES),
        )
        for mode in ('short', 'long', 'box'):
            outputs[f'text {mode}'] = encoder.encode_text(NAMES, mode)
    return outputs


def check_encoder(device: str) -> Iterable[Difference]:
    encoder = FGCLIP2.from_pretrained('fgclip2_tiny').eval()
    ours, theirs = (encoder_outputs(encoder, d) for d in (device, 'cpu'))
    for name, value in theirs.items():
        yield Difference(name, largest(ours[name], value), LOSS)


# ----------------------------------------------------------------------- detectors
def training_step(
    model: nn.Module, data: dict, device: str, bfloat16: bool = False
) -> tuple[dict[str, Tensor], Tensor]:
    """Losses, and the norm of each parameter's gradient, of one step."""
    model = copied(model, device).train()
    torch.manual_seed(0)  # MMDetection draws RoIs on the CPU
    data = model.data_preprocessor(copy.deepcopy(data), True)
    with autocast(device, bfloat16):
        losses = model(**data, mode='loss')
    total, terms = model.parse_losses(losses)
    total.backward()
    trained = [p for p in model.parameters() if p.requires_grad]
    norms = [
        torch.zeros(()) if p.grad is None else p.grad.norm().cpu() for p in trained
    ]
    return terms, torch.stack(norms)


def compare_training(
    model: nn.Module, data: dict, device: str, bfloat16: bool = False
) -> Iterable[Difference]:
    limit = BFLOAT16 if bfloat16 else LOSS
    ours = training_step(model, data, device, bfloat16)
    theirs = training_step(model, data, 'cpu')
    for name, value in theirs[0].items():
        if 'loss' in name:
            yield Difference(name, largest(ours[0][name], value), limit)
    if not bfloat16:
        yield Difference('gradients', largest(ours[1], theirs[1]), 10 * limit)


@torch.no_grad()
def predictions(model: nn.Module, data: dict, device: str) -> list:
    model = copied(model, device).eval()
    samples = model.test_step(copy.deepcopy(data))
    return [sample.pred_instances.cpu() for sample in samples]


def without_partner(ours, theirs) -> tuple[float, float]:
    """Shares of ``theirs`` that no row of ``ours`` equals, and of differing pixels.

    A partner has the same label, an IoU of 0.99 and a score within :data:`SCORE`.
    Scores in near ties may come in another order, so rows are not compared in theirs.
    """
    from mmdet.structures.bbox import bbox_overlaps

    if not len(theirs):
        raise ValueError('the CPU predicts nothing, so nothing is compared')
    if not len(ours):
        return 1.0, 0.0
    fits = bbox_overlaps(theirs.bboxes, ours.bboxes) >= 0.99
    fits &= theirs.labels[:, None] == ours.labels
    fits &= (theirs.scores[:, None] - ours.scores).abs() <= SCORE
    has, partner = fits.float().max(1)
    pixels = 0.0
    if 'masks' in theirs and has.any():
        a, b = (torch.as_tensor(x.masks) for x in (theirs, ours))
        pixels = float((a[has > 0] != b[partner[has > 0]]).float().mean())
    return 1 - float(has.mean()), pixels


def compare_predictions(
    model: nn.Module, data: dict, device: str
) -> Iterable[Difference]:
    ours, theirs = (predictions(model, data, d) for d in (device, 'cpu'))
    shares = [without_partner(*pair) for pair in zip(ours, theirs, strict=True)]
    yield Difference('boxes without partner', max(s[0] for s in shares), 0.02)
    if 'masks' in theirs[0]:
        yield Difference('mask pixels', max(s[1] for s in shares), 1e-3)


def check_detector(device: str) -> Iterable[Difference]:
    model, data = detector(masks=True), detection_data(masks=True)
    yield from compare_training(model, data, device)
    yield from compare_predictions(model, data, device)


def check_swap(device: str) -> Iterable[Difference]:
    model, data = swapped('retinanet_fgclip2-b16_sfpn_1x_coco.py'), detection_data()
    yield from compare_training(model, data, device)
    yield from compare_predictions(model, data, device)


def check_rescorer(device: str) -> Iterable[Difference]:
    with tempfile.TemporaryDirectory() as folder:
        data = detection_data(folder=Path(folder))
        yield from compare_predictions(rescorer(), data, device)


def check_bfloat16(device: str) -> Iterable[Difference]:
    """A step of the detector under autocast against the CPU's in float32."""
    yield from compare_training(detector(False), detection_data(), device, True)


# ----------------------------------------------------------------------- alignment
def alignment_losses(
    device: str, autocast: bool = False
) -> tuple[dict[str, Tensor], Tensor]:
    model = alignment(autocast).to(device).train()
    terms = model(alignment_batch().to(device), mode='loss')
    model.parse_losses(dict(terms))[0].backward()
    norms = [p.grad.norm().cpu() for p in model.parameters() if p.grad is not None]
    return terms, torch.stack(norms)


def check_alignment(device: str) -> Iterable[Difference]:
    ours, theirs = alignment_losses(device), alignment_losses('cpu')
    for name, value in theirs[0].items():
        yield Difference(name, largest(ours[0][name], value), LOSS)
    yield Difference('gradients', largest(ours[1], theirs[1]), 10 * LOSS)
    low = alignment_losses(device, autocast=True)[0]
    for name, value in theirs[0].items():
        if name.startswith('loss'):
            difference = largest(low[name], value)
            yield Difference(f'{name}, bfloat16', difference, BFLOAT16)


CHECKS: dict[str, Callable[[str], Iterable[Difference]]] = dict(
    encoder=check_encoder,
    detector=check_detector,
    swap=check_swap,
    rescorer=check_rescorer,
    bfloat16=check_bfloat16,
    alignment=check_alignment,
)


def run_check(name: str, device: str) -> list[Difference]:
    """Differences of one check, TF32 off: the CPU has none.

    Raises:
        ValueError: an unknown check, or no device of that kind.
    """
    if name not in CHECKS:
        raise ValueError(f'no check {name!r}; there are {", ".join(CHECKS)}')
    if device.startswith('cuda') and not torch.cuda.is_available():
        raise ValueError('no CUDA device: torch.cuda.is_available() is False')
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        return list(CHECKS[name](device))
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before
