"""Costs against PyTorch's own counter, real tensors and sums by hand."""

import gc

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from fgclip2_det.fgclip2.config import FGCLIP2Config, VisionConfig
from fgclip2_det.fgclip2.cost import (
    DenseEncoder,
    LiveBytes,
    cost_row,
    count_flops,
    count_parameters,
    peak_memory,
)
from fgclip2_det.fgclip2.vision import _resampling_matrix

SMALL = VisionConfig(64, 96, 3, 4, num_patches=16)
WINDOWS = dict(window_size=4, global_blocks=(2,))
CHOICES = [dict(), WINDOWS, dict(window_size=4, global_blocks=())]
GRID = (6, 10)


@pytest.mark.parametrize('choice', CHOICES, ids=['global', 'mixed', 'windows'])
@pytest.mark.parametrize('size', ['small', 'tiny'])
def test_flops_are_those_of_the_module(size, choice):
    config = SMALL if size == 'small' else FGCLIP2Config.from_size('tiny').vision
    model = DenseEncoder(config, **choice)
    windows = model.windows(GRID)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        model(torch.zeros(1, 60, 768), GRID, windows)
    actual = count_flops(config, GRID, **choice)
    assert actual['total'] == counter.get_total_flops()
    assert actual['total'] == sum(v for k, v in actual.items() if k != 'total')


def test_flops_by_hand():
    """One block of 2 channels and MLP width 3 on 1 x 2 patches, a 1 x 1 table.
    Patches 2 * 2 * 768 * 2, table 2 * 1 * 1 * 2 * (1 + 2); q, k, v, out 4 * 2 * 2 * 4;
    MLP 2 * 2 * 2 * 2 * 3; attention 2 * 2 * 2 * 2 * 2; the head once more."""
    actual = count_flops(VisionConfig(2, 3, 1, 1, num_patches=1), (1, 2))
    assert actual['embedding'] == 6144 + 12
    assert actual['linear'] == 64 + 48
    assert actual['attention'] == 32
    assert actual['head'] == 144


@pytest.mark.parametrize('size', ['tiny', 'base'])
def test_parameters_are_those_of_the_backbone(size):
    pytest.importorskip('mmdet', reason='needs the mm packages')
    from fgclip2_det.models import FGCLIP2ViT

    with torch.device('meta'):
        backbone = FGCLIP2ViT(size, output='both')
    actual = count_parameters(FGCLIP2Config.from_size(size).vision)
    assert actual == sum(p.numel() for p in backbone.parameters())


def test_live_bytes_by_hand():
    """Three vectors of 400 bytes, one of them a view, one freed before the fourth."""
    with LiveBytes() as live:
        a = torch.zeros(100)
        b = a + 1
        view = b[:50]
        assert live.now == live.peak == 800
        del a
        gc.collect()
        assert live.now == 400
        c = view * 2
        assert (live.now, live.peak) == (600, 800)
        del b, view, c
        gc.collect()
        assert (live.now, live.peak) == (0, 800)


def real_peak(train=False, with_cp=False, amp=False, batch_size=2, **choice):
    """(peak, saved for backward) of real tensors."""
    model = DenseEncoder(SMALL, with_cp=with_cp, **choice)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
        parameter.requires_grad_(train)
        if train:
            parameter.register_post_accumulate_grad_hook(drop)
    patches = torch.randn(batch_size, 60, 768)
    windows = model.windows(GRID, batch_size)
    given = {p.untyped_storage().data_ptr() for p in (*model.parameters(), patches)}
    given |= {_resampling_matrix(4, n).untyped_storage().data_ptr() for n in GRID}
    saved = {}

    def note(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in given:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    live = LiveBytes()
    live.ignore([patches, *model.parameters()])
    with (
        live,
        torch.backends.mkldnn.flags(enabled=False),
        torch.set_grad_enabled(train),
        torch.autocast('cpu', torch.bfloat16, enabled=amp),
        torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor),
    ):
        out = model(patches, GRID, windows)
        kept = live.now - out.untyped_storage().nbytes()
        if train:
            out.backward(torch.ones_like(out))
    return live.peak, kept, sum(saved.values())


def drop(parameter):
    parameter.grad = None


@pytest.mark.parametrize('choice', CHOICES, ids=['global', 'mixed', 'windows'])
@pytest.mark.parametrize(
    'options',
    [
        dict(),
        dict(train=True),
        dict(train=True, with_cp=True),
        dict(train=True, amp=True),
        dict(amp=True),
    ],
    ids=lambda options: '-'.join(options) or 'inference',
)
def test_peak_of_shapes_is_the_peak_of_real_tensors(options, choice):
    """To a hundredth: a real LayerNorm keeps its means a moment longer."""
    peak, _, _ = real_peak(**options, **choice)
    actual = peak_memory(SMALL, GRID, batch_size=2, **options, **choice)
    assert actual == pytest.approx(peak, rel=0.01) and actual > 0


@pytest.mark.parametrize('choice', CHOICES, ids=['global', 'mixed', 'windows'])
def test_what_a_forward_keeps_is_what_backward_reads(choice):
    """Saved-tensor hooks count the same bytes."""
    peak, kept, saved = real_peak(train=True, **choice)
    assert kept == pytest.approx(saved, rel=0.01)
    assert peak >= kept


def test_what_helps():
    """Checkpoints save memory, windows save attention, more pixels cost more."""
    base = FGCLIP2Config.from_size('base').vision
    train, with_cp = (
        peak_memory(base, (40, 40), train=True, with_cp=c) for c in (False, True)
    )
    assert with_cp < train / 4
    row = cost_row('base', 1024)
    cut = cost_row('base', 1024, window_size=16)
    assert cut['global_blocks'] == [2, 5, 8, 11] and row['global_blocks'] == []
    # 8 of 12 blocks have 256 keys a patch, not 4096
    assert cut['flops']['attention'] == row['flops']['attention'] * (4 + 8 / 16) / 12
    assert cut['flops']['linear'] == row['flops']['linear']
    assert 'training' not in row and row['grid'] == [64, 64]


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (('base', 0), 'resolution must be at least 1'),
        (('base', 640, -1), 'window_size 0, got 640 and -1'),
        (('tiny', 640, 16, 4), 'tiny has 4 blocks: 1 to 3 of them'),
        (('huge', 640), 'size must be one of'),
    ],
)
def test_wrong_requests(args, message):
    with pytest.raises(ValueError, match=message):
        cost_row(*args)
