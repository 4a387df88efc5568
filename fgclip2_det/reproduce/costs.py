"""Memory, time and disk of a run on one GPU, computed.

FLOPs count matrix products, a multiply-add as two. Those of the detectors and their
activations are what ``python -m benchmarks.detector_cost`` printed; those of the
encoder are :func:`.fgclip2.cost.count_flops` and :func:`.fgclip2.cost.peak_memory`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from fgclip2_det.evaluation.lvis_ap import PER_CLASS, PER_IMAGE
from fgclip2_det.fgclip2.config import FGCLIP2Config, TextConfig
from fgclip2_det.fgclip2.cost import count_flops, peak_memory
from fgclip2_det.io import InputError
from fgclip2_det.reproduce.run import Plan
from fgclip2_det.vocabulary.templates import resolve_templates

GRID = (27, 36)  # patches of an image of 640 x 480, which most of COCO are near
SQUARES = {196: (14, 14), 576: (24, 24)}  # FG-CLIP 1
TEXT_TOKENS = 64
BYTES = 4  # float32
ROW_BYTES, LIST_BYTES = 32, 140  # of a row in a shard, in a result list


@dataclass(frozen=True)
class DetectorCost:
    """Cost of a detector.

    Args:
        params: its parameters.
        flops: of a pass over an image of 800 x 1066 pixels with a caption of 40 names;
            of the image encoder where names come after it.
        peak: bytes of the tensors that a pass makes.
        name_flops: of each name after the image encoder; None: it is asked in passes.
    """

    params: int
    flops: float
    peak: int
    name_flops: float | None = None


DETECTOR_COSTS: dict[str, DetectorCost] = {
    'llmdet-tiny': DetectorCost(172_250_628, 753_911_700_480, 1_261_188_832),
    'llmdet-base': DetectorCost(232_315_266, 1_164_304_841_728, 1_267_204_832),
    'llmdet-large': DetectorCost(342_392_638, 3_527_685_528_576, 5_968_677_400),
    'sam3': DetectorCost(840_376_374, 4_830_701_027_328, 314_693_256, 266_461_146_112),
}
# what a benchmark asks: images, and questions an image with their number of names.
# FG-OVD: 11,283 objects with ten negatives on at most 5,000 images; D3: 422
# descriptions of 106 scenes
_ASKED = {'fg-ovd': (5_000, 11_283 / 5_000, 11), 'd3': (10_578, 1.0, 4)}
_TEXTS = {'fg-ovd': 60_000, 'd3': 422}  # of the encoder; FG-OVD: at most about


@dataclass(frozen=True)
class Cost:
    """Cost of a run.

    Args:
        images: of the benchmark.
        passes: of the detector, an image; 0 with a result list.
        detector_flops, encoder_flops, text_flops: of the whole run.
        detector_bytes, encoder_bytes: of GPU memory, weights included.
        rows: of the detector, at most.
        listed: of these in its result list, at most.
        tflops, efficiency: assumed.
    """

    images: int
    passes: float
    detector_flops: float
    encoder_flops: float
    text_flops: float
    detector_bytes: int
    encoder_bytes: int
    rows: float
    listed: float
    tflops: float
    efficiency: float

    def seconds(self, flops: float) -> float:
        """Time of so many FLOPs."""
        return flops / (self.tflops * 1e12 * self.efficiency)

    def hours(self) -> float:
        """Time of all FLOPs."""
        flops = self.detector_flops + self.encoder_flops + self.text_flops
        return self.seconds(flops) / 3600

    def figures(self) -> dict[str, float]:
        """In the units of the table: PFLOP, hours and GB."""
        return {
            'images': self.images,
            'passes': self.passes,
            'detector_pflop': self.detector_flops / 1e15,
            'encoder_pflop': self.encoder_flops / 1e15,
            'text_pflop': self.text_flops / 1e15,
            'hours': self.hours(),
            'gpu_gb': max(self.detector_bytes, self.encoder_bytes) / 1e9,
            'disk_gb': (self.rows * ROW_BYTES + self.listed * LIST_BYTES) / 1e9,
            'tflops': self.tflops,
            'efficiency': self.efficiency,
        }


def cost_of(plan: Plan, tflops: float, efficiency: float) -> Cost:
    """Cost of a plan.

    Args:
        plan: the run; its files are not looked at.
        tflops: peak of the GPU in TFLOP/s, of the type that weights have (float32).
        efficiency: share of the peak that is reached, in (0, 1].

    Raises:
        InputError: numbers that cannot be.
    """
    if not (tflops > 0 and math.isfinite(tflops)) or not 0 < efficiency <= 1:
        raise InputError(
            f'--tflops must be positive and --efficiency in (0, 1], got {tflops} and '
            f'{efficiency}'
        )
    benchmark = plan.benchmark
    images, questions, names = _ASKED.get(
        benchmark.name, (benchmark.num_images or 0, 1.0, benchmark.num_names or 0)
    )
    images = min(images, plan.limit or images)
    asking = benchmark.asking
    passes = questions * math.ceil(names / asking.chunk_size)
    rows = (
        images
        * questions
        * min(passes / questions * asking.max_per_pass, asking.max_per_ask or math.inf)
    )
    listed = rows
    if benchmark.protocol.startswith('lvis'):  # what one of its flavors counts
        listed = names * PER_CLASS + images * PER_IMAGE
    flops, params, peak = 0.0, 0, 0
    if plan.detector_release is not None:
        own = DETECTOR_COSTS[plan.detector_release.architecture]
        params, peak = own.params, own.peak
        flops = images * own.flops * passes
        if own.name_flops is not None:
            flops = images * questions * (own.flops + own.name_flops * names)
    else:
        passes = 0
    vision, text, encoder_bytes = _encoder(plan)
    texts = _TEXTS.get(benchmark.name, names)
    texts *= len(resolve_templates(benchmark.rescoring.templates))
    return Cost(
        images=images,
        passes=passes,
        detector_flops=flops,
        encoder_flops=images * vision,
        text_flops=texts * text,
        detector_bytes=BYTES * params + peak,
        encoder_bytes=encoder_bytes,
        rows=rows,
        listed=min(rows, listed),
        tflops=tflops,
        efficiency=efficiency,
    )


def _encoder(plan: Plan) -> tuple[int, int, int]:
    """FLOPs of an image and of a text, and bytes with both towers."""
    release = plan.encoder_release
    config = FGCLIP2Config.from_size(release.size)
    grid = SQUARES.get(release.image_tokens, GRID)
    flops = count_flops(config.vision, grid)['total']
    peak = peak_memory(config.vision, grid)
    return flops, text_flops(config.text), release.num_bytes + peak


def text_flops(config: TextConfig, tokens: int = TEXT_TOKENS) -> int:
    """FLOPs of one text: all layers, the last one for the last token alone, which is
    pooled, and the head."""
    n, dims, hidden = tokens, config.hidden_size, config.intermediate_size
    layer = 8 * n * dims**2 + 4 * n * dims * hidden + 4 * n**2 * dims
    last = 4 * n * dims**2 + 4 * dims**2 + 4 * n * dims + 4 * dims * hidden
    return (config.num_hidden_layers - 1) * layer + last + 2 * dims**2


def format_cost(cost: Cost) -> str:
    """The cost as text."""
    parts = (
        ('detector', cost.detector_flops, cost.detector_bytes),
        ('encoder, images', cost.encoder_flops, cost.encoder_bytes),
        ('encoder, names', cost.text_flops, cost.encoder_bytes),
    )
    lines = [
        f'{cost.images:,} images, {cost.passes:,.3g} passes of the detector for each, '
        f'at most {cost.rows:,.0f} boxes',
        f'{"":<18}{"PFLOP":>12}{"hours":>9}{"GPU memory, GB":>17}',
    ]
    for title, flops, memory in parts:
        hours = cost.seconds(flops) / 3600
        lines.append(
            f'{title:<18}{flops / 1e15:>12,.1f}{hours:>9.2f}{memory / 1e9:>17.1f}'
        )
    lines += [
        f'{"all":<18}{"":>12}{cost.hours():>9.2f}',
        f'disk: shards {cost.rows * ROW_BYTES / 1e9:.1f} GB, result list at most '
        f'{cost.listed * LIST_BYTES / 1e9:.1f} GB',
        f'assumed: a peak of {cost.tflops:g} TFLOP/s, {cost.efficiency:.0%} of it '
        'reached, one image at a time, float32; reading and resizing of images and the '
        'fusion of scores, on the CPU, are not counted',
    ]
    return '\n'.join(lines)
