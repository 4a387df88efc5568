"""FG-CLIP 1's or CLIP's vision tower as an MMDetection backbone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch.nn.functional as F
from mmdet.registry import MODELS
from torch import Tensor, nn

from fgclip2_det.fgclip1 import FGCLIP1
from fgclip2_det.fgclip1.preprocess import clip_normalize
from fgclip2_det.fgclip1.vision import CLIPVisionTower
from fgclip2_det.fgclip2 import DualEncoder
from fgclip2_det.fgclip2.preprocess import patchify
from fgclip2_det.models.backbones.fgclip2_vit import FGCLIP2ViT


@MODELS.register_module()
class FGCLIP1ViT(FGCLIP2ViT):
    """Vision tower of FG-CLIP 1 or CLIP, for images of any size, at stride 16.

    The encoder was trained on one square grid, 14 x 14 or 24 x 24. Every other grid
    gets its position table by bicubic interpolation, so features of large images are an
    extrapolation, unlike those of :class:`FGCLIP2ViT`. Patches of 14 pixels get the
    image resized by 14 / 16. Inputs are those of ``FGCLIP2DetDataPreprocessor``, RGB in
    -1 to 1; CLIP's mean and standard deviation are applied here.

    Args:
        encoder: ``dict(pretrained='folder or hub id')`` or
            ``dict(size='base', version=1)`` (random weights), see ``build_encoder``.
        output: 'tokens' (last hidden state), 'dense' (comparable with texts; as many
            channels as these, not as the tokens), or 'both', the dense map last.
        out_indices, frozen_stages, with_cp, lora, compile, init_cfg: as in
            :class:`FGCLIP2ViT`.
        window_size, global_blocks: stay 0 and None, there are no windows.

    Raises:
        ValueError: if an option is out of range or has no effect, or for an encoder of
            another version.

    Example:
        >>> backbone = FGCLIP1ViT(encoder=dict(size='tiny', version=1))
        >>> backbone(torch.zeros(1, 3, 96, 160))[0].shape
        torch.Size([1, 96, 6, 10])
    """

    encoder_type = FGCLIP1

    def _set_windows(self, size: int, global_blocks: Sequence[int] | None) -> None:
        if size or global_blocks is not None:
            raise ValueError(
                'FGCLIP1ViT has no windows, got window_size='
                f'{size!r} and global_blocks={global_blocks!r}; leave both out'
            )

    def _take(self, model: DualEncoder) -> None:
        self.vision_model = model.vision_model
        if self.output != 'tokens':
            self.visual_projection = cast(nn.Linear, model.visual_projection)

    @property
    def _needs_last(self) -> bool:
        """Whether a map comes from the last block with its attention."""
        last = self.num_layers - 1
        needed = not self.out_indices or last in self.out_indices
        return needed and self.output != 'dense'

    def _freeze(self) -> None:
        tower = cast(CLIPVisionTower, self.vision_model)
        if self.frozen:
            self.requires_grad_(False)
            return
        if self.frozen_stages >= 0:
            tower.embeddings.requires_grad_(False)
            tower.pre_layrnorm.requires_grad_(False)
            tower.encoder.layers[: self.frozen_stages].requires_grad_(False)
        if self.output == 'tokens' and self.out_indices:  # what comes after is unused
            tower.encoder.layers[max(self.out_indices) + 1 :].requires_grad_(False)
            tower.post_layernorm.requires_grad_(False)
        for name in self._idle_layers():
            self.get_submodule(name).requires_grad_(False)

    def _idle_layers(self) -> list[str]:
        if self.output == 'tokens' or self._needs_last:
            return []
        # the dense path takes the last block's values alone
        attention = f'vision_model.encoder.layers.{self.num_layers - 1}.self_attn'
        return [f'{attention}.q_proj', f'{attention}.k_proj']

    def _encode(
        self,
        patches: Tensor,
        grids: list[tuple[int, int]],
        mask: Tensor | None,
        with_dense: bool,
    ) -> tuple[list[Tensor], Tensor | None]:
        tower = cast(CLIPVisionTower, self.vision_model)
        x, mask, outs = tower.before_last(patches, grids, mask, self.out_indices)
        if self._needs_last:
            tokens = tower.last(x, mask)[:, :-1]
            outs.append(tokens if self.out_indices else tower.post_layernorm(tokens))
        if not with_dense:
            return outs, None
        return outs, self.visual_projection(tower.dense(x))

    def _cut(self, pixels: Tensor) -> Tensor:
        """Patches of CLIP's normalization, the image resized to patches of its size."""
        size = self.vision_config.patch_size
        if size != self.patch_size:
            sides = [side // self.patch_size * size for side in pixels.shape[-2:]]
            pixels = F.interpolate(
                pixels, sides, mode='bicubic', align_corners=False, antialias=True
            )
        return patchify(clip_normalize((pixels + 1) / 2), size)
