"""The training model of R2D2: an encoder and its ranker, learned together."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce_dict
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from torch import Tensor, nn

from fgclip2_det.ranker import Ranker
from pretrain import losses
from pretrain.autocasting import check_autocast, tower_precision
from pretrain.data.collate import AlignmentBatch
from pretrain.initialise import build_for_training
from pretrain.r2d2.feature_queue import FeatureQueue
from pretrain.r2d2.frozen import freeze_unused
from pretrain.r2d2.masked_text import MaskedTextHead, SpecialIds, hidden_states
from pretrain.r2d2.momentum_teacher import MomentumTeacher
from pretrain.r2d2.options import r2d2_losses
from pretrain.r2d2.token_pairs import (
    Pairs,
    Tokens,
    embeds_of_images,
    embeds_of_texts,
    logits_with_negatives,
)
from pretrain.seeds import step_seed

CAPTIONS = ('short', 'long')
_DRAWS = dict(negatives=0, masks=1)  # streams of random numbers in a step


@MODELS.register_module()
class R2D2Alignment(BaseModel):
    """Pre-ranking and ranking of whole images and captions (arXiv:2205.03860).

    L = pre_ranking L_GCPR + ranking L_FGR + target_guided L_TgD
    + feature_guided L_FgD + mlm L_MLM; weights and forms are a preset's.

    The teacher, its queues, the step and the temperature are part of a checkpoint.
    ``ExportRankerHook`` writes the ranker, ``ExportFGCLIP2Hook`` the encoder.

    Args:
        encoder: where its weights come from, see
            :func:`pretrain.initialise.build_for_training`: FG-CLIP 2, FG-CLIP 1, or
            CLIP as a start of version 1.
        losses: ``preset`` and changes of single values, see
            :func:`pretrain.r2d2.options.r2d2_losses`.
        ranker: sizes, see :meth:`.RankerConfig.for_encoder`; or ``pretrained``, the
            folder of one that was trained on this encoder's tokens.
        captions: 'short' or 'long', what the images are paired with.
        freeze_vision: leave the vision tower as it is, as the released fine-tuning
            does. FG-CLIP 1's projection behind it goes on learning.
        freeze_text: leave the text tower and its heads as they are.
        autocast: True computes towers and joint encoders in bfloat16 and the losses in
            float32.
        gradient_checkpointing: recompute each block of the towers in backward.
        seed: of the ranker's weights, and of negatives and hidden tokens, see
            :func:`pretrain.seeds.step_seed`; each step has its own numbers, the same
            however many processes there are.
        data_preprocessor: a config; moves batches to the device.

    Example:
        >>> model = R2D2Alignment(dict(size='tiny'), ranker=dict(num_hidden_layers=2))
        >>> sorted(model(batch, mode='loss'))
        ['loss_pre_ranking', 'loss_ranking', 'temperature']
    """

    step: Tensor
    centre: Tensor

    def __init__(
        self,
        encoder: dict,
        losses: dict | None = None,
        ranker: dict | None = None,
        captions: str = 'short',
        freeze_vision: bool = False,
        freeze_text: bool = False,
        autocast: bool | str = False,
        gradient_checkpointing: bool = False,
        seed: int = 0,
        data_preprocessor: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor or dict(type='AlignmentDataPreprocessor'))
        if captions not in CAPTIONS:
            raise ValueError(f'captions must be one of {CAPTIONS}, got {captions!r}')
        self.options, self.captions = r2d2_losses(**(losses or {})), captions
        self.autocast, self.seed = check_autocast(autocast), seed
        self.freeze_vision = freeze_vision
        self.encoder = build_for_training(**encoder)
        self.starts_random = encoder.get('size') is not None
        self.ranker = self._build_ranker(dict(ranker or {}))
        self.temperature = nn.Parameter(torch.tensor([self.options.temperature]))
        self.register_buffer('step', torch.zeros((), dtype=torch.long))
        self.register_buffer('centre', torch.zeros(self.encoder.embed_dims))
        if self.options.has_masked_text:
            self.special = SpecialIds.of(self.encoder, self.options.mask_id)
        if self.options.mlm:
            table = self.encoder.text_model.embeddings.token_embedding
            self.word_head = MaskedTextHead(table.weight)
        for tower in (self.encoder.vision_model, self.encoder.text_model):
            tower.encoder.gradient_checkpointing = gradient_checkpointing
        freeze_unused(self, freeze_text)
        if self.options.has_teacher:  # it shares what is frozen
            self.teacher = MomentumTeacher(self.encoder, self.options.momentum)
        if self.options.target_guided:
            size, decay = self.options.queue_size, self.options.queue_decay
            self.queue = FeatureQueue(size, self.encoder.embed_dims, decay)

    def _build_ranker(self, options: dict) -> Ranker:
        folder = options.pop('pretrained', None)
        if folder is None:
            generator = torch.Generator().manual_seed(self.seed)
            ranker = Ranker.for_encoder(self.encoder, generator, **options)
        elif options:
            raise ValueError(
                f'ranker: pretrained has its own sizes; leave {sorted(options)} out'
            )
        else:
            ranker = Ranker.from_pretrained(folder, self.encoder)
        if ranker.config.reads != 'image':
            raise ValueError(
                "ranker: R2D2Alignment reads whole images; expected reads='image', got "
                f'{ranker.config.reads!r}'
            )
        if self.options.mlm and ranker.config.sides == 'image':
            raise ValueError(
                "ranker: mlm needs the joint encoder of texts; set sides='both' or "
                "'text', or mlm=0"
            )
        return ranker.train()

    def forward(self, batch: AlignmentBatch, mode: str = 'loss') -> dict[str, Tensor]:
        """Losses of a batch: ``loss_*`` with their weights, and what to log.

        In training it also moves the teacher, its queues and centre, and the step.

        Raises:
            ValueError: for another mode; this model only trains.
        """
        if mode != 'loss':
            raise ValueError(f"mode must be 'loss', got {mode!r}")
        with tower_precision(self.autocast, self.temperature.device):
            return self._losses(batch)

    def _losses(self, batch: AlignmentBatch) -> dict[str, Tensor]:
        options, terms = self.options, {}
        if self.training:
            losses.clamp_temperature(self.temperature)
            if options.has_teacher:
                self.teacher.update(self.encoder)
        pairs = Pairs.of(batch, self.captions)
        images, texts = self._read_images(pairs), self._read_texts(pairs.ids)
        embeds = (
            embeds_of_images(self.encoder, images.states)[: pairs.count],
            embeds_of_texts(self.encoder, texts.states, self.captions)[: pairs.count],
        )
        keys = pairs.image_keys, pairs.text_keys if options.same_text else None
        if options.pre_ranking:
            terms['pre_ranking'] = losses.pre_ranking_loss(
                *embeds, self.temperature, *keys
            )
        if options.target_guided:
            terms['target_guided'] = self._target_guided(pairs, embeds, keys)
        if options.ranking:
            terms['ranking'] = self._ranking(images, texts, embeds, keys)
        if options.has_masked_text:
            terms |= self._masked_terms(pairs, images)
        if self.training:
            self.step += 1
        outputs = {f'loss_{k}': v * getattr(options, k) for k, v in terms.items()}
        return outputs | dict(temperature=self.temperature.detach().mean())

    def parse_losses(self, losses: dict) -> tuple[Tensor, dict[str, Tensor]]:
        """This process's total for backward; means over processes for the log."""
        total, terms = super().parse_losses(losses)
        terms = {name: value.detach().float() for name, value in terms.items()}
        all_reduce_dict(terms, 'mean')
        return total, terms

    def num_tokens(self, batch: AlignmentBatch) -> int:
        """Image patches and text positions of a batch that the towers take."""
        num_texts = getattr(batch, f'{self.captions}_ids').numel()
        return batch.images.pixel_values.shape[:2].numel() + num_texts

    # --------------------------------------------------------------------- tokens
    def _read_images(self, pairs: Pairs) -> Tokens:
        # a frozen tower keeps nothing for backward
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.freeze_vision):
            return Tokens(*self.encoder.image_tokens(pairs.images))

    def _read_texts(self, ids: Tensor) -> Tokens:
        return Tokens(*self.encoder.text_tokens(ids, self.captions))

    # --------------------------------------------------------------------- losses
    def _ranking(
        self,
        images: Tokens,
        texts: Tokens,
        embeds: tuple[Tensor, Tensor],
        keys: tuple[Tensor, Tensor | None],
    ) -> Tensor:
        options = self.options
        negatives = losses.draw_negatives(
            *embeds,
            self.temperature,
            *keys,
            seed=self._seed_of('negatives'),
            among=options.negatives,
        )
        logits, valid = logits_with_negatives(
            self.ranker, images, texts, negatives, options.negatives
        )
        targets = torch.zeros_like(valid)
        targets[:, 0] = True
        return losses.matching_loss(
            logits, targets, options.class_weights, options.double_softmax, valid
        )

    def _target_guided(
        self,
        pairs: Pairs,
        embeds: tuple[Tensor, Tensor],
        keys: tuple[Tensor, Tensor | None],
    ) -> Tensor:
        options, encoder = self.options, self.teacher.module
        with torch.no_grad():
            images, _ = encoder.image_tokens(pairs.images)
            teacher = (
                embeds_of_images(encoder, images)[: pairs.count],
                self._teacher_texts(pairs)[: pairs.count],
            )
        loss = losses.target_guided_loss(
            *embeds,
            *teacher,
            self.temperature,
            *keys,
            queue=self.queue.entries(),
            alpha=self._alpha(),
            weighting=options.weighting,
        )
        if self.training:
            self.queue.enqueue(*teacher, pairs.image_keys, pairs.text_keys)
        return loss

    def _masked_terms(self, pairs: Pairs, images: Tokens) -> dict[str, Tensor]:
        """Terms of texts with hidden tokens."""
        options, count, terms = self.options, pairs.count, {}
        ids, targets = losses.mask_tokens(
            pairs.ids[:count],
            self.special.maskable(pairs.ids[:count]),
            self.special.mask,
            self.special.words,
            seed=self._seed_of('masks'),
            rate=options.mask_rate,
            mask_share=options.mask_share,
            random_share=options.random_share,
        )
        masked = self._read_texts(ids if count else pairs.ids)
        if options.feature_guided:
            student = embeds_of_texts(self.encoder, masked.states, self.captions)
            terms['feature_guided'] = self._feature_guided(pairs, student[:count])
        if options.mlm:
            states = self.ranker.text_joint(
                masked.states[:, None], images.states, masked.mask[:, None], images.mask
            )[:, 0]
            states, words = hidden_states(states[:count], targets)
            table = self.encoder.text_model.embeddings.token_embedding.weight
            logits = self.word_head(states, table)
            terms['mlm'] = losses.masked_language_loss(logits, words)
        return terms

    def _feature_guided(self, pairs: Pairs, student: Tensor) -> Tensor:
        options = self.options
        teacher = self._teacher_texts(pairs)[: pairs.count]
        loss = losses.feature_guided_loss(
            student,
            teacher,
            form=options.feature_form,
            centre=self.centre,
            student_temperature=options.student_temperature,
            teacher_temperature=options.teacher_temperature,
        )
        if self.training and options.feature_form == 'distribution':
            new = losses.next_centre(teacher, self.centre, options.centre_momentum)
            self.centre.copy_(new)
        return loss

    @torch.no_grad()
    def _teacher_texts(self, pairs: Pairs) -> Tensor:
        embeds = self.teacher.module.encode_text(pairs.ids, self.captions)
        return F.normalize(embeds.float(), dim=-1)

    def _alpha(self) -> float:
        steps = self.options.alpha_steps
        return self.options.alpha * (min(int(self.step) / steps, 1.0) if steps else 1.0)

    def _seed_of(self, draw: str) -> int:
        """A number of this step and draw, the same in all processes."""
        return step_seed(self.seed, int(self.step), _DRAWS[draw], len(_DRAWS))
