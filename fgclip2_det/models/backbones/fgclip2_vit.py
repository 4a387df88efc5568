"""FG-CLIP 2's vision tower as an MMDetection backbone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from fgclip2_det.fgclip2 import FGCLIP2, DualEncoder
from fgclip2_det.fgclip2.preprocess import patchify
from fgclip2_det.fgclip2.windows import evenly_spaced_blocks
from fgclip2_det.models.backbones.lora import (
    add_lora,
    check_options,
    name_base_layers,
)
from fgclip2_det.models.encoders import build_encoder, meta_encoder

OUTPUTS = ('tokens', 'dense', 'both')
STRIDE = 16  # pixels of the input per patch, whatever the encoder's own patches


@MODELS.register_module()
class FGCLIP2ViT(BaseModule):
    """Vision tower and dense head, for images of any size.

    Every image is encoded on its own grid of ceil(H / 16) x ceil(W / 16) patches:
    padding is removed first and is zero in the output, so it never changes the features
    of an image. ``FGCLIP2DetDataPreprocessor`` marks padding with NaN for this; without
    NaN the whole input is the image.

    Args:
        encoder: ``dict(pretrained='folder or hub id')`` or
            ``dict(size='base', seed=0)`` (random weights), see ``build_encoder``.
        output: 'tokens' (last hidden state), 'dense' (comparable with box
            texts), or 'both', the dense map last.
        out_indices: blocks whose outputs replace the last hidden state.
        frozen_stages: -1 trains everything; n >= 0 freezes the embeddings and
            the first n blocks; the number of blocks freezes all, heads included.
        with_cp: gradient checkpointing.
        lora: options of ``add_lora``, as ``dict(r=8, alpha=16)``: the encoder is
            frozen, adapters in the blocks after the first ``frozen_stages`` are
            trained. None: no adapters.
        window_size: side in patches of the windows of windowed attention, for large
            images; 0: global attention in every block, as the encoder was trained.
        global_blocks: blocks with global attention if windows are used; None: four,
            evenly spaced, including the last block.
        compile: compile the blocks with ``torch.compile`` when they first run. A dict
            has its options; True: ``dict(dynamic=True)``, for images of many sizes.
            Parameters keep their names.
        init_cfg: as in every ``BaseModule``.

    Raises:
        ValueError: if an option is out of range or has no effect.

    Example:
        >>> backbone = FGCLIP2ViT(encoder=dict(size='tiny'))
        >>> backbone(torch.zeros(1, 3, 96, 160))[0].shape
        torch.Size([1, 128, 6, 10])
    """

    encoder_type: type[DualEncoder] = FGCLIP2

    def __init__(
        self,
        encoder: str | dict,
        output: str = 'tokens',
        out_indices: Sequence[int] = (),
        frozen_stages: int = -1,
        with_cp: bool = False,
        lora: dict | None = None,
        window_size: int = 0,
        global_blocks: Sequence[int] | None = None,
        compile: bool | dict = False,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if output not in OUTPUTS:
            raise ValueError(f'output must be one of {OUTPUTS}, got {output!r}')
        check_options(lora)
        self.encoder, self.output, self.frozen_stages = encoder, output, frozen_stages
        on_meta = torch.get_default_device().type == 'meta'  # sizes only
        model = (meta_encoder if on_meta else build_encoder)(encoder, towers='vision')
        if not isinstance(model, self.encoder_type):
            wanted, found = self.encoder_type.__name__, type(model).__name__
            raise ValueError(
                f'{type(self).__name__} needs an encoder of {wanted}, got one of '
                f"{found}; set backbone.type='{found}ViT'"
            )
        vision = self.vision_config = model.config.vision
        self.embed_dims, self.patch_size = vision.hidden_size, STRIDE
        self.num_layers = vision.num_hidden_layers
        _check_whole('frozen_stages', [frozen_stages], -1, self.num_layers)
        _check_whole('out_indices', out_indices, 0, self.num_layers - 1)
        self.out_indices = tuple(out_indices)
        self._take(model)
        self.vision_model.encoder.gradient_checkpointing = with_cp
        self._set_windows(window_size, global_blocks)
        self._freeze()
        self.lora = lora
        if lora is not None:
            self._add_lora(lora)
        if compile:
            options = dict(compile) if compile is not True else dict(dynamic=True)
            for block in self.vision_model.encoder.layers:
                block.compile(**options)

    def _take(self, model: DualEncoder) -> None:
        """The modules of an encoder that the outputs need."""
        self.vision_model = model.vision_model
        del self.vision_model.head  # the global embedding: no detector reads it
        if self.output != 'tokens':
            self.dense_feature_head = cast(FGCLIP2, model).dense_feature_head

    @property
    def frozen(self) -> bool:
        """Whether no parameter is trained."""
        return self.frozen_stages >= self.num_layers

    @property
    def num_maps(self) -> int:
        """Maps in a feature cache: the last hidden state, or ``out_indices``."""
        return max(len(self.out_indices), 1)

    def _set_windows(self, size: int, global_blocks: Sequence[int] | None) -> None:
        _check_whole('window_size', [size], 0, 2**16)
        if not size and global_blocks is not None:
            raise ValueError(
                f'global_blocks={global_blocks!r} needs a window_size, got 0; set '
                'window_size, or leave global_blocks out'
            )
        if not size:
            return
        if global_blocks is None:
            global_blocks = evenly_spaced_blocks(self.num_layers)
        _check_whole('global_blocks', global_blocks, 0, self.num_layers - 1)
        if len(set(global_blocks)) == self.num_layers:
            raise ValueError(
                f'window_size={size} has no effect: all {self.num_layers} blocks are '
                'global; name fewer global_blocks'
            )
        self.vision_model.window_size = size
        self.vision_model.encoder.global_blocks = tuple(global_blocks)

    def _freeze(self) -> None:
        tower = self.vision_model
        if self.frozen:
            self.requires_grad_(False)
        elif self.frozen_stages >= 0:
            tower.embeddings.requires_grad_(False)
            tower.encoder.layers[: self.frozen_stages].requires_grad_(False)
        if self.output != 'tokens':  # the dense path has no probe (spec A.4)
            self.dense_feature_head.probe.requires_grad_(False)
        if self.output == 'dense' or self.out_indices:
            last = max(self.out_indices, default=self.num_layers - 1)
            if self.output == 'tokens':  # nothing after the last output is used
                tower.encoder.layers[last + 1 :].requires_grad_(False)
                tower.post_layernorm.requires_grad_(False)

    def _add_lora(self, lora: dict) -> None:
        """Add adapters to the blocks that are not frozen and that an output uses."""
        if self.frozen:
            raise ValueError(
                f'frozen_stages={self.frozen_stages} leaves no block for lora; set '
                'frozen_stages=-1, all weights but the adapters are frozen anyway'
            )
        last = self.num_layers - 1
        if self.output == 'tokens':
            last = max(self.out_indices, default=last)
        blocks = range(max(self.frozen_stages, 0), last + 1)
        if not blocks:
            raise ValueError(
                f'frozen_stages={self.frozen_stages} leaves no block for lora up to '
                f'the last of out_indices, {last}; freeze fewer'
            )
        add_lora(self, blocks, **lora, idle=self._idle_layers())

    def _idle_layers(self) -> list[str]:
        """Names of layers, in blocks that outputs need, which no output uses."""
        return []

    def _load_from_state_dict(self, state_dict, prefix, *args) -> None:
        if self.lora is not None:
            name_base_layers(self, state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Feature maps at stride 16.

        Args:
            x: (B, 3, H, W), RGB in -1 to 1, NaN where batching padded.

        Returns:
            Maps (B, D, ceil(H / 16), ceil(W / 16)), contiguous, zero where padded.
        """
        maps, dense = self.extract(x, with_dense=self.output != 'tokens')
        if self.output == 'dense':
            assert dense is not None  # a cache holds maps
            return (dense,)
        return maps if dense is None else (*maps, dense)

    def extract(
        self, x: Tensor, with_dense: bool = True
    ) -> tuple[tuple[Tensor, ...], Tensor | None]:
        """Like ``forward``: the maps, and the dense map if requested.

        ``x`` may also be (B, D * num_maps, h, w), the maps of a feature cache; there
        is no dense map then.
        """
        if x.shape[1] != 3:
            return tuple(y.contiguous() for y in x.chunk(self.num_maps, 1)), None
        grids = self.grid_sizes(x)
        height, width = x.shape[-2:]
        canvas = -(-height // self.patch_size), -(-width // self.patch_size)
        patches, mask = self._patches(x, grids, canvas)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            outs, dense = self._encode(patches, grids, mask, with_dense)
            maps = tuple(self._to_map(y, grids, canvas) for y in outs)
            if dense is None:
                return maps, None
        return maps, self._to_map(dense, grids, canvas)

    def _encode(
        self,
        patches: Tensor,
        grids: list[tuple[int, int]],
        mask: Tensor | None,
        with_dense: bool,
    ) -> tuple[list[Tensor], Tensor | None]:
        """Tokens (B, N, D) of every map, and of the dense map if requested."""
        tokens, outs = self.vision_model(patches, grids, mask, self.out_indices)
        dense = None
        if with_dense:
            dense = self.dense_feature_head.dense(tokens, mask)
        return outs or [tokens], dense

    def _cut(self, pixels: Tensor) -> Tensor:
        """(B, 3, h * 16, w * 16) pixels in -1 to 1 -> (B, h * w, 768) patches."""
        return patchify(pixels, self.patch_size)

    def grid_sizes(self, x: Tensor) -> list[tuple[int, int]]:
        """(h, w) of every image in patches, by the NaN in its first column and row."""
        heights = x[:, 0, :, 0].isnan().logical_not().sum(-1)
        widths = x[:, 0, 0, :].isnan().logical_not().sum(-1)
        sizes = torch.stack([heights, widths], -1).tolist()
        size = self.patch_size
        return [(-(-height // size), -(-width // size)) for height, width in sizes]

    def _patches(
        self, x: Tensor, grids: list[tuple[int, int]], canvas: tuple[int, int]
    ) -> tuple[Tensor, Tensor | None]:
        """(B, N, 768) patches, each image's own first, and the key mask."""
        size = self.patch_size
        height, width = x.shape[-2:]
        if canvas != (height / size, width / size):
            x = F.pad(x, (0, canvas[1] * size - width, 0, canvas[0] * size - height))
        if set(grids) == {canvas}:
            return self._cut(x.nan_to_num(0.0)), None
        cropped = [
            self._cut(image[None, :, : h * size, : w * size].nan_to_num(0.0))[0]
            for image, (h, w) in zip(x, grids, strict=True)
        ]
        counts = torch.tensor([h * w for h, w in grids], device=x.device)
        patches = pad_sequence(cropped, batch_first=True)
        if len(set(counts.tolist())) == 1:
            return patches, None
        index = torch.arange(patches.shape[1], device=x.device)
        return patches, (index < counts[:, None])[:, None, None]

    def _to_map(
        self, tokens: Tensor, grids: list[tuple[int, int]], canvas: tuple[int, int]
    ) -> Tensor:
        """(B, N, D) -> (B, D, *canvas), zero outside each image's grid.

        Contiguous: convolutions keep permuted strides, and mmcv's compiled RoIAlign
        reads a map's memory in order.
        """
        if set(grids) == {canvas}:
            return tokens.transpose(1, 2).unflatten(2, canvas).contiguous()
        maps = [
            F.pad(
                image[: h * w].T.unflatten(1, (h, w)),
                (0, canvas[1] - w, 0, canvas[0] - h),
            )
            for image, (h, w) in zip(tokens, grids, strict=True)
        ]
        return torch.stack(maps).contiguous()


def _check_whole(name: str, values: object, low: int, high: int) -> None:
    """ValueError unless ``values`` lists integers from low to high."""
    listed = isinstance(values, list | tuple)
    if not listed or not all(type(v) is int and low <= v <= high for v in values):
        raise ValueError(f'{name}: expected integers {low} to {high}, got {values!r}')
