"""Re-scoring of shards of detections."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from fgclip2_det.fgclip2 import FGCLIP2, load_image
from fgclip2_det.reproduce.benchmarks import Benchmark
from fgclip2_det.reproduce.questions import Ask, Item, Questions
from fgclip2_det.reproduce.releases import FGCLIP1
from fgclip2_det.reproduce.shards import Rows, join_rows, make_rows
from fgclip2_det.vocabulary import Vocabulary


class ItemRescorer:
    """Scores of images' detections, fused with an encoder's similarities.

    The similarity's softmax is over the names of the question where a question is a
    vocabulary of its own (FG-OVD), else over all names of the benchmark.

    Args:
        encoder: with both towers.
        benchmark: how it is re-scored.
        questions: with the names.
        cache_dir: for text embeddings.
    """

    def __init__(
        self,
        encoder: Any,
        benchmark: Benchmark,
        questions: Questions,
        cache_dir: Path | None,
    ) -> None:
        vocabulary = Vocabulary(
            list(questions.names), benchmark.rescoring.templates, check=False
        )
        self.embeds = vocabulary.embed(encoder, cache_dir)
        self.encoder, self.rescoring = encoder, benchmark.rescoring
        self.own_vocabularies = benchmark.protocol == 'fg-ovd'
        self._whole = self._build(self.embeds)

    def _build(self, embeds: torch.Tensor) -> Any:
        import fgclip2_det.compat.mm  # isort: skip  (before mmdet)
        from fgclip2_det.models.fusion import OpenVocabGeometricFusion
        from fgclip2_det.models.prediction_rescorer import PredictionRescorer

        how = self.rescoring
        return PredictionRescorer(
            self.encoder,
            embeds,
            OpenVocabGeometricFusion(alpha=how.alpha, temperature=how.temperature),
            how.mode,
            labels_per_box=how.labels_per_box,
            nms_iou=how.nms_iou,
            merge_iou=how.merge_iou,
            max_per_image=how.max_per_image,
        )

    def __call__(self, item: Item, rows: Rows, place: int) -> Rows:
        """Rows of an image with fused scores, boxes clipped to the image; those whose
        fused score is 0, which the detector did not report, are left out."""
        if not len(rows):
            return rows
        from fgclip2_det.models.image_memory import ImageMemory

        image, memory = load_image(item.path).convert('RGB'), ImageMemory()
        limit = torch.tensor([*image.size, *image.size], dtype=torch.float32)
        parts = []
        for number, ask in enumerate(item.asks):
            own = rows.select(rows.ask == number)
            if len(own):
                parts.append(self._ask(image, limit, memory, own, ask, place, number))
        return join_rows(parts)

    def _ask(
        self,
        image: Any,
        limit: torch.Tensor,
        memory: Any,
        rows: Rows,
        ask: Ask,
        place: int,
        number: int,
    ) -> Rows:
        chosen = torch.tensor(ask.labels)
        rescorer, labels = self._whole, chosen[torch.from_numpy(rows.label).long()]
        if self.own_vocabularies:
            labels = torch.from_numpy(rows.label).long()
            rescorer = self._build(self.embeds[chosen.to(self.embeds.device)])
        boxes = torch.from_numpy(rows.boxes).clamp(min=0).minimum(limit)
        fused = rescorer(
            image,
            boxes,
            torch.from_numpy(rows.scores),
            labels,
            memory,
        )
        place_of = {label: n for n, label in enumerate(ask.labels)}
        keep = fused.scores > 0
        found = fused.labels[keep].tolist()
        if not self.own_vocabularies:
            found = [place_of[label] for label in found]
        return make_rows(
            place, number, found, boxes[fused.source[keep]], fused.scores[keep]
        )


def load_any_encoder(folder: Path, version: int, device: str) -> Any:
    """An encoder of FG-CLIP 2, or of FG-CLIP 1 where this package can read it.

    Raises:
        ValueError: weights that do not fit their version.
    """
    if version == 2:
        return FGCLIP2.from_pretrained(os.fspath(folder)).to(device)
    return import_module(FGCLIP1).load_encoder(os.fspath(folder)).to(device)
