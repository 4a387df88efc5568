"""Cost of the vision tower: parameters, FLOPs and memory, without running it.

Counts the modules of ``FGCLIP2ViT(output='both')``: the tower without its global head,
and the dense head.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from fgclip2_det.fgclip2.config import FGCLIP2Config, VisionConfig
from fgclip2_det.fgclip2.layers import AttentionPoolingHead
from fgclip2_det.fgclip2.vision import VisionTower, _resampling_matrix
from fgclip2_det.fgclip2.windows import Windows, cut_windows, evenly_spaced_blocks


class DenseEncoder(nn.Module):
    """Tower and dense head of B images with one grid.

    Args:
        config: sizes.
        window_size, global_blocks: as in ``FGCLIP2ViT``, the blocks by number.
        with_cp: gradient checkpointing.
    """

    def __init__(
        self,
        config: VisionConfig,
        window_size: int = 0,
        global_blocks: Sequence[int] = (),
        with_cp: bool = False,
    ) -> None:
        super().__init__()
        self.window_size = window_size
        self.tower = VisionTower(config)
        del self.tower.head
        self.tower.encoder.global_blocks = global_blocks
        self.tower.encoder.gradient_checkpointing = with_cp
        self.head = AttentionPoolingHead(
            config.hidden_size,
            config.intermediate_size,
            config.num_attention_heads,
            config.layer_norm_eps,
        )

    def windows(self, grid: tuple[int, int], batch_size: int = 1) -> Windows | None:
        """Windows of ``batch_size`` images of one grid; None for global attention."""
        if not self.window_size:
            return None
        return cut_windows([grid] * batch_size, self.window_size, grid[0] * grid[1])

    def forward(
        self, patches: Tensor, grid: tuple[int, int], windows: Windows | None = None
    ) -> Tensor:
        """(B, h * w, 768) -> dense features (B, h * w, D)."""
        x = self.tower.embeddings(patches, [grid] * len(patches))
        x, _ = self.tower.encoder(x, windows=windows)
        return self.head.dense(self.tower.post_layernorm(x))


def count_parameters(config: VisionConfig) -> int:
    """Number of parameters of the tower and the dense head."""
    with torch.device('meta'):
        return sum(p.numel() for p in DenseEncoder(config).parameters())


def count_flops(
    config: VisionConfig,
    grid: tuple[int, int],
    window_size: int = 0,
    global_blocks: Sequence[int] = (),
) -> dict[str, int]:
    """FLOPs of one image; a multiply-add is two FLOPs.

    Only matrix products are counted, as in ``torch.utils.flop_counter``: with N patches
    of D channels, a linear layer to E channels has 2 N D E, attention 4 N^2 D, windows
    of S patches 4 S^2 D each.

    Args:
        config: sizes.
        grid: (h, w) patches.
        window_size: side of a window in patches; 0: none.
        global_blocks: blocks with global attention if windows are used.

    Returns:
        ``embedding``, ``linear`` and ``attention`` of all blocks, ``head``, ``total``.
    """
    h, w = grid
    n, dims, hidden = h * w, config.hidden_size, config.intermediate_size
    side = round(config.num_patches**0.5)
    pixels = config.num_channels * config.patch_size**2
    tables = 2 * side * h * dims * (side + w)  # the position table, rows then columns
    linear = 8 * n * dims**2 + 4 * n * dims * hidden  # q, k, v, out and the MLP
    whole = 4 * n**2 * dims
    num_global = config.num_hidden_layers
    cut = 0
    if window_size:
        num_global = len(set(global_blocks))
        num_windows = -(-h // window_size) * -(-w // window_size)
        cut = 4 * window_size**4 * dims * num_windows
    num_cut = config.num_hidden_layers - num_global
    parts = dict(
        embedding=2 * n * pixels * dims + tables,
        linear=config.num_hidden_layers * linear,
        attention=num_global * whole + num_cut * cut,
        head=linear + whole,
    )
    return parts | dict(total=sum(parts.values()))


class LiveBytes(TorchDispatchMode):
    """Current and peak memory of the tensors created inside the context.

    Tensors that exist before (weights, inputs) and internal buffers of kernels are not
    counted; storage shared by views is counted once.

    Attributes:
        now, peak: bytes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known = weakref.WeakSet()

    def ignore(self, tensors: Sequence[Tensor]) -> None:
        """Exclude tensors from the count."""
        self._known.update(tensor.untyped_storage() for tensor in tensors)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Run an operator and count its outputs."""
        out = func(*args, **(kwargs or {}))
        for tensor in tree_iter(out):
            if isinstance(tensor, Tensor):
                self._note(tensor.untyped_storage())
        return out

    def _note(self, storage: torch.UntypedStorage) -> None:
        if storage in self._known:
            return
        self._known.add(storage)
        size = storage.nbytes()
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._freed, size)

    def _freed(self, size: int) -> None:
        self.now -= size


def peak_memory(
    config: VisionConfig,
    grid: tuple[int, int],
    window_size: int = 0,
    global_blocks: Sequence[int] = (),
    train: bool = False,
    with_cp: bool = False,
    amp: bool = False,
    batch_size: int = 1,
) -> int:
    """Peak memory in bytes of a pass, without weights and input, measured with meta
    tensors.

    Training is a forward and backward pass for all weights; each gradient is freed as
    soon as it is computed: with AdamW, add 16 bytes per parameter for weights,
    gradients and moments. Attention is PyTorch's memory-efficient kernel, which stores
    no N x N weights.

    Args:
        config, grid, window_size, global_blocks: as in :func:`count_flops`.
        train: include the backward pass; else without gradients.
        with_cp: gradient checkpointing.
        amp: bfloat16 autocast; else float32.
        batch_size: B.
    """
    side = round(config.num_patches**0.5)
    for length in grid:
        _resampling_matrix(side, length)  # cached, so it must not be a meta tensor
    with torch.device('meta'):
        plain = DenseEncoder(config, window_size, global_blocks, with_cp)
    windows = plain.windows(grid, batch_size)
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    shape = (batch_size, grid[0] * grid[1], config.num_channels * config.patch_size**2)
    with fake:
        model = plain.to_empty(device='cpu').requires_grad_(train)
        patches = torch.empty(shape, device='cpu')
    if train:
        for parameter in model.parameters():
            parameter.register_post_accumulate_grad_hook(_drop)
    live = LiveBytes()
    live.ignore([patches, *model.parameters()])
    with (
        fake,
        live,
        torch.backends.mkldnn.flags(enabled=False),  # as on a GPU: no fused GELU
        torch.set_grad_enabled(train),
        torch.autocast('cpu', torch.bfloat16, enabled=amp),
    ):
        out = model(patches, grid, windows)
        if train:
            out.backward(torch.empty_like(out))
    return live.peak


def _drop(parameter: nn.Parameter) -> None:
    parameter.grad = None


def cost_row(
    size: str,
    resolution: int,
    window_size: int = 0,
    num_global: int = 4,
    train: bool = False,
    amp: bool = False,
) -> dict:
    """One line of a cost table: an image of ``resolution`` x ``resolution`` pixels.

    Args:
        size: 'base', 'large', 'so400m' or 'tiny'.
        resolution: pixels; the grid is that of ``FGCLIP2ViT``, rounded up.
        window_size: side of a window in patches; 0: every block is global.
        num_global: number of global blocks beside windows, evenly spaced.
        train: also measure training.
        amp: bfloat16 autocast.

    Returns:
        Settings, ``params``, ``flops`` by part and bytes: ``inference`` and, with
        ``train``, ``training`` and ``training_cp``.

    Raises:
        ValueError: for a number below 1, or if all blocks would be global.
    """
    config = FGCLIP2Config.from_size(size).vision
    blocks = config.num_hidden_layers
    if resolution < 1 or window_size < 0:
        raise ValueError(
            f'resolution must be at least 1 and window_size 0, got {resolution} and '
            f'{window_size}'
        )
    if window_size and not 1 <= num_global < blocks:
        raise ValueError(
            f'{size} has {blocks} blocks: 1 to {blocks - 1} of them may be global '
            f'beside windows, got {num_global}'
        )
    side = -(-resolution // config.patch_size)
    grid = (side, side)
    where = evenly_spaced_blocks(blocks, num_global) if window_size else ()
    place = (config, grid, window_size, where)
    row = dict(
        size=size,
        resolution=resolution,
        grid=list(grid),
        window_size=window_size,
        global_blocks=list(where),
        params=count_parameters(config),
        flops=count_flops(*place),
        inference=peak_memory(*place, amp=amp),
    )
    if train:
        row['training'] = peak_memory(*place, train=True, amp=amp)
        row['training_cp'] = peak_memory(*place, train=True, with_cp=True, amp=amp)
    return row
