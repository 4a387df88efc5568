"""Open-vocabulary segmentation: each pixel gets one of any names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from mmdet.structures import SampleList
from mmengine.model import BaseModel
from mmengine.structures import PixelData
from torch import Tensor

from fgclip2_det.fgclip2 import DualEncoder
from fgclip2_det.fgclip2.score_maps import best_names
from fgclip2_det.models.backbones.fgclip2_vit import STRIDE
from fgclip2_det.models.detectors.open_vocab_mixin import (
    Names,
    as_vocabulary,
    text_source,
)
from fgclip2_det.models.losses.name_map_loss import (
    BACKGROUND,
    IGNORED,
    choose_names,
    name_map_loss,
    rows_of_names,
)
from fgclip2_det.models.losses.process_counts import share_of_count
from fgclip2_det.vocabulary import Vocabulary


@MODELS.register_module()
class OpenVocabSegmentor(BaseModel):
    """Encoder, names and a decoder of their cosines.

    Weights know nothing of the names: any number of others can be set after training.
    The text tower is not part of the model and stays as it is; names are embedded
    whenever the vocabulary changes.

    Every image is segmented on its own grid of ceil(H / 16) x ceil(W / 16) patches, so
    that padding and the other images of a batch change nothing.

    Args:
        backbone: an ``FGCLIP2ViT`` or ``FGCLIP1ViT`` with ``output='both'`` and one of
            ``out_indices`` for each stage of the head's decoder.
        decode_head: an ``OpenVocabCostHead``; None: the names' cosines alone, without
            training.
        data_preprocessor: an ``FGCLIP2DetDataPreprocessor`` with ``pad_seg=True``.
        vocabulary: options of ``Vocabulary``; None if ``OpenVocabVocabularyHook`` sets
            the data set's classes.
        templates: prompt templates of names that are set later.
        cache_dir: folder for text embeddings on disk; None keeps no cache.
        num_train_names: names of a training step, those in its images (of all
            processes) among them; None: all base names.
        ignore_label: number in label maps of what counts for nothing.
        background_label: number in label maps of what has none of the names: wrong for
            each of them in training. None: there is no such number.
        zero_shot: predict from the cosines alone, also with a head: what a trained head
            is compared with.
        init_cfg: as in every ``BaseModule``.

    Raises:
        ValueError: if backbone and head do not fit together.

    Example:
        >>> model = MODELS.build(config.model)
        >>> model.set_vocabulary(['cat', 'grass'])
        >>> model.logits(torch.zeros(1, 3, 96, 160))[0].shape
        torch.Size([2, 24, 40])

    Reference: Cat-Seg (arXiv:2303.11797).
    """

    def __init__(
        self,
        backbone: dict,
        decode_head: dict | None = None,
        data_preprocessor: dict | None = None,
        vocabulary: dict | None = None,
        templates: str | Sequence[str] = 'raw',
        cache_dir: str | None = None,
        num_train_names: int | None = None,
        ignore_label: int = 255,
        background_label: int | None = None,
        zero_shot: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor, init_cfg)
        self.backbone: Any = MODELS.build(backbone)
        self.decode_head: Any = decode_head and MODELS.build(decode_head)
        self._check_parts()
        if num_train_names is not None and num_train_names < 1:
            raise ValueError(
                f'num_train_names must be at least 1, or None, got {num_train_names}'
            )
        self.templates, self.cache_dir = templates, cache_dir
        self.num_train_names = num_train_names
        self.ignore_label, self.background_label = ignore_label, background_label
        self.zero_shot = zero_shot
        self.trained_classes: Sequence[str] = ()
        self.vocabulary: Vocabulary | None = None
        self.register_buffer('text_embeds', torch.empty(0), persistent=False)
        if vocabulary is not None:
            self.set_vocabulary(Vocabulary(**vocabulary))
        self.configured_vocabulary = self.vocabulary

    @property
    def uses_head(self) -> bool:
        """Whether maps are the head's logits, not cosines."""
        return self.decode_head is not None and not self.zero_shot

    def _check_parts(self) -> None:
        if getattr(self.backbone, 'output', None) != 'both':
            raise ValueError("backbone must be an FGCLIP2ViT with output='both'")
        given = len(self.backbone.out_indices)
        if self.decode_head is not None and given != self.decode_head.num_maps:
            raise ValueError(
                f'the decoder has {self.decode_head.num_maps} stages and needs as many '
                f'blocks of the encoder, got out_indices={self.backbone.out_indices}'
            )

    # ------------------------------------------------------------------- names
    def set_vocabulary(
        self, names: Names, encoder: DualEncoder | None = None
    ) -> Vocabulary:
        """Change the names; weights do not change, labels index the new names.

        Args:
            names: a vocabulary, a list of names, or 'black cat. 白色杯子'. Without a
                split, the names of the training are base, others novel.
            encoder: text tower to use; the backbone's own, loaded for this, when None.

        Returns:
            The new vocabulary.

        Raises:
            ValueError: for empty or duplicate names, prompts beyond 64 tokens, or
                embeddings of another size than the backbone's dense map.
        """
        vocabulary = as_vocabulary(names, self.templates, self.trained_classes)
        old = self.vocabulary
        if encoder is None and old and old.prompts() == vocabulary.prompts():
            self.vocabulary = vocabulary
            return vocabulary
        source = encoder or text_source(self.backbone.encoder, self.cache_dir, None)
        embeds = vocabulary.embed(source, self.cache_dir)
        self.text_embeds = embeds.float().to(self.data_device)
        self.vocabulary = vocabulary
        return vocabulary

    @property
    def data_device(self) -> torch.device:
        """Where the weights are."""
        return next(self.backbone.parameters()).device

    # --------------------------------------------------------------- inference
    def forward(
        self,
        inputs: Tensor,
        data_samples: SampleList | None = None,
        mode: str = 'tensor',
    ) -> dict[str, Tensor] | SampleList | list[Tensor]:
        """As in MMEngine: 'loss', 'predict' or 'tensor' (:meth:`logits`)."""
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        if mode == 'tensor':
            return self.logits(inputs)
        raise ValueError(f"mode must be 'loss', 'predict' or 'tensor', got {mode!r}")

    def logits(self, batch_inputs: Tensor) -> list[Tensor]:
        """A map of every name, for each image.

        Args:
            batch_inputs: (B, 3, H, W), RGB in -1 to 1, NaN where batching padded.

        Returns:
            B maps (T, h, w) at four cells a patch, of the head's logits; or at one cell
            a patch, of cosines, without a head or with ``zero_shot``.
        """
        self._check_names()
        return self.score_maps(batch_inputs, self.text_embeds)

    def score_maps(self, batch_inputs: Tensor, text_embeds: Tensor) -> list[Tensor]:
        """Like :meth:`logits`, of names whose (T, D) unit embeddings are given."""
        return [
            x
            for part in self._parts(batch_inputs)
            for x in self._score(*part, text_embeds)
        ]

    def _check_names(self) -> None:
        if self.vocabulary is None:
            raise ValueError(
                "the segmentor has no vocabulary; call set_vocabulary(['cat', '草']) "
                'or add OpenVocabVocabularyHook to custom_hooks'
            )

    def _parts(self, batch_inputs: Tensor) -> Iterator[tuple[Tensor, list[Tensor]]]:
        """Dense map and the maps of blocks of a batch without padding, else of one
        image after the other, each on its own grid."""
        maps, dense = self.backbone.extract(batch_inputs)
        grids = self.backbone.grid_sizes(batch_inputs)
        if set(grids) == {tuple(dense.shape[2:])}:
            yield dense, list(maps)
            return
        for i, (h, w) in enumerate(grids):
            own = [x[i : i + 1, :, :h, :w] for x in (dense, *maps)]
            yield own[0], own[1:]

    def _score(self, dense: Tensor, maps: list[Tensor], text_embeds: Tensor) -> Tensor:
        """(B, T, h, w)."""
        if self.uses_head:
            return self.decode_head(dense, maps, text_embeds)
        unit = F.normalize(dense.float(), dim=1)
        return torch.einsum('bdhw,td->bthw', unit, text_embeds.to(unit))

    @torch.no_grad()
    def predict(
        self, batch_inputs: Tensor, batch_data_samples: SampleList
    ) -> SampleList:
        """The best name of every pixel of the original images.

        Returns:
            The samples with ``pred_sem_seg``: ``sem_seg`` (1, H, W) int64, and from a
            head ``scores`` (1, H, W), the sigmoid of the best name's logit.
        """
        maps = self.logits(batch_inputs)
        for scores, sample in zip(maps, batch_data_samples, strict=True):
            shape = sample.metainfo['img_shape'][:2]  # after resizing, without padding
            grid = [-(-side // STRIDE) for side in shape]
            extent = [
                side / STRIDE * cells / patches
                for side, cells, patches in zip(
                    shape, scores.shape[1:], grid, strict=True
                )
            ]
            size = sample.metainfo.get('ori_shape', shape)[:2]
            labels, best = best_names(scores, size, (extent[0], extent[1]))
            sample.pred_sem_seg = PixelData(sem_seg=labels[None])
            if self.uses_head:
                sample.pred_sem_seg.scores = best.sigmoid()[None]
        return batch_data_samples

    # ---------------------------------------------------------------- training
    def loss(
        self, batch_inputs: Tensor, batch_data_samples: SampleList | None
    ) -> dict[str, Tensor]:
        """A binary loss for every pixel and base name.

        Raises:
            ValueError: without a head, a vocabulary or label maps, or for a pixel that
                is labelled with a class that is not base.
        """
        if self.decode_head is None:
            raise ValueError(
                'a segmentor without decode_head has nothing to train; give it one'
            )
        self._check_names()
        assert self.vocabulary is not None
        labels = self._labels(batch_data_samples or []).to(batch_inputs.device)
        rows = self.vocabulary.known_split().nonzero()[:, 0].tolist()
        names = choose_names(labels, rows, self.num_train_names)
        labels = rows_of_names(labels, names)
        text_embeds = self.text_embeds[names.to(self.text_embeds.device)]
        sums, start = [], 0
        for dense, maps in self._parts(batch_inputs):
            logits = self.decode_head(dense, maps, text_embeds)
            own = labels[start : start + len(logits)]
            start += len(logits)
            height, width = (n * STRIDE for n in dense.shape[2:])
            own = own[:, :height, :width]
            sums.append(name_map_loss(logits, own, STRIDE // self.decode_head.scale))
        total, count = (torch.stack(part).sum() for part in zip(*sums, strict=True))
        # the mean over all processes' pixels, once gradients are averaged
        return {'loss_seg': total / share_of_count(count.float())}

    def _labels(self, samples: SampleList) -> Tensor:
        """(B, H, W) int64, rows of the vocabulary, ``BACKGROUND`` or ``IGNORED``."""
        if not samples or 'gt_sem_seg' not in samples[0]:
            raise ValueError(
                'training needs label maps; put LoadAnnotations(with_seg=True) into '
                'the pipeline, and pad_seg=True into the data_preprocessor'
            )
        raw = torch.cat([sample.gt_sem_seg.sem_seg for sample in samples]).long()
        labels = raw.masked_fill(raw == self.ignore_label, IGNORED)
        if self.background_label is not None:
            labels = labels.masked_fill(raw == self.background_label, BACKGROUND)
        return labels
