"""Federated annotations: the names used in the loss of each image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmdet.structures import DetDataSample, SampleList
from torch import Tensor


class FederatedNames:
    """Selection of names by LVIS's lists for each image, or by sampling for each batch.

    In LVIS, an image is annotated for the categories with boxes and for those in
    ``neg_category_ids``, which it does not contain. Categories in
    ``not_exhaustive_category_ids`` have some of their boxes, but not all. A background
    region is thus a negative for the exhaustively annotated names of its image, and
    ignored for the others.

    Args:
        image_lists: use the lists of each image (``OpenVocabLVISDataset``).
        num_names: without the lists, number of names per batch: its own ones and others
            sampled with probability proportional to frequency ** power.
        power: see ``num_names``.

    Raises:
        ValueError: unless exactly one of the two is chosen.

    Reference: Gupta et al. (arXiv:1908.03195), section 3; Detic (arXiv:2201.02605),
    federated loss of 50 names and power 0.5.
    """

    def __init__(
        self, image_lists: bool = True, num_names: int = 0, power: float = 0.5
    ) -> None:
        if image_lists == bool(num_names):
            raise ValueError(
                'federated: set image_lists=True, or image_lists=False and num_names '
                f'above 0, got {image_lists} and {num_names}'
            )
        self.image_lists, self.num_names, self.power = image_lists, num_names, power
        self.frequencies: Tensor | None = None

    def set_image_counts(self, image_counts: Sequence[int] | None) -> None:
        """Set the number of images of every name, for ``num_names``.

        Raises:
            ValueError: if they are required and missing.
        """
        if self.image_lists:
            return
        if image_counts is None:
            raise ValueError(
                "federated: num_names needs metainfo['image_counts'], which "
                'OpenVocabLVISDataset has; or use image_lists'
            )
        self.frequencies = torch.tensor(image_counts).double() ** self.power

    def __call__(self, samples: SampleList, is_base: Tensor) -> Tensor:
        """Names for which the background regions of each image are negatives.

        Args:
            samples: B images with ``gt_instances.labels``, and with
                ``neg_labels`` and ``not_exhaustive_labels`` if lists are used.
            is_base: (C,) bool.

        Returns:
            (B, C) bool.
        """
        if self.image_lists:
            return torch.stack([self._listed(s, is_base) for s in samples]) & is_base
        labels = torch.cat([sample.gt_instances.labels for sample in samples])
        counts = torch.zeros_like(is_base)
        counts[labels] = True
        missing = self.num_names - int(counts.sum())
        assert self.frequencies is not None  # without lists
        weights = self.frequencies.masked_fill(counts.cpu() | ~is_base.cpu(), 0)
        missing = min(missing, int((weights > 0).sum()))
        if missing > 0:
            drawn = torch.multinomial(weights, missing)  # seeded with the step
            counts[drawn.to(counts.device)] = True
        return (counts & is_base).expand(len(samples), -1)

    def _listed(self, sample: DetDataSample, is_base: Tensor) -> Tensor:
        counts = torch.zeros_like(is_base)
        for name in ('neg_labels', 'not_exhaustive_labels'):
            if name not in sample.metainfo:
                raise ValueError(
                    f'federated: {sample.metainfo.get("img_path")} has no {name}; use '
                    "OpenVocabLVISDataset, and add 'neg_labels' and "
                    "'not_exhaustive_labels' to the meta_keys of PackDetInputs"
                )
        counts[sample.gt_instances.labels] = True
        counts[list(sample.metainfo['neg_labels'])] = True
        counts[list(sample.metainfo['not_exhaustive_labels'])] = False
        return counts
