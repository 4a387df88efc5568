"""What makes large trainings fit: bf16, checkpointing, compilation, windows."""

import copy

import pytest
import torch
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.optim.optimizer import amp_optimizer_wrapper
from torch._dynamo.utils import counters

from fgclip2_det.models import FGCLIP2ViT
from tests.models.test_detector import NAMES, build, data
from tests.models.test_fgclip2_vit import TINY, batch_of, images

AOT = dict(backend='aot_eager', dynamic=True)  # traces as inductor does, fast to build
BASE = NAMES[:2]


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()


def two_steps(model, wrapper) -> list[dict[str, float]]:
    """Losses of two steps on the same two images, with the same draws."""
    model = model.train()
    model.trained_classes = BASE
    model.set_vocabulary(BASE)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    wrapped, actual = wrapper(optimizer), []
    for _ in range(2):
        torch.manual_seed(0)
        batch = data((96, 160), (128, 96), labels=[0, 1])
        losses = model.train_step(batch, wrapped)
        actual.append({name: value.item() for name, value in losses.items()})
    return actual


def test_bfloat16_trains_close_to_float32(monkeypatch):
    """The CPU's autocast stands in for a GPU's. Every anchor is a proposal, and all
    are taken: rounding would choose and draw others, on each CPU its own."""
    monkeypatch.setattr(amp_optimizer_wrapper, 'is_cuda_available', lambda: True)
    proposals = 'model.train_cfg.rpn_proposal.'
    every = {
        'model.train_cfg.rcnn.sampler.num': 1 << 14,
        proposals + 'nms_pre': 1 << 14,
        proposals + 'max_per_img': 1 << 14,
        proposals + 'nms.iou_threshold': 1.0,
    }
    single = two_steps(build(**every), OptimWrapper)
    model = build(**every)
    actual = two_steps(model, lambda o: AmpOptimWrapper(dtype='bfloat16', optimizer=o))
    for low, full in zip(actual, single, strict=True):
        assert low.keys() == full.keys() and low != full
        assert low['loss'] == pytest.approx(full['loss'], rel=1e-2)
        assert low['loss_rpn_cls'] == pytest.approx(full['loss_rpn_cls'], rel=1e-3)
        assert low['loss_region'] == pytest.approx(full['loss_region'], rel=1e-2)
    assert actual[1]['loss'] < actual[0]['loss']
    for name, parameter in model.named_parameters():
        assert parameter.dtype is torch.float32 and parameter.isfinite().all(), name


@pytest.mark.parametrize(
    'options',
    [
        dict(with_cp=True),
        pytest.param(dict(compile=AOT), marks=pytest.mark.weekly),  # as the last
        dict(with_cp=True, compile=AOT),
        dict(with_cp=True, window_size=4, global_blocks=[3]),
        dict(compile=AOT, window_size=4, global_blocks=[3]),
    ],
    ids=lambda options: '-'.join(options),
)
def test_memory_and_speed_change_no_number(options):
    """Losses and gradients of the detector are those of plain blocks."""
    plain = {k: v for k, v in options.items() if k not in ('with_cp', 'compile')}
    actual = []
    for choice in (plain, options):
        model = build(**{f'model.backbone.{k}': v for k, v in choice.items()}).train()
        model.trained_classes = BASE
        model.set_vocabulary(BASE)
        torch.manual_seed(0)
        batch = data((96, 160), (128, 96), labels=[0, 1])
        batch = model.data_preprocessor(batch, training=True)
        loss, _ = model.parse_losses(model(**batch, mode='loss'))
        loss.backward()
        actual.append((loss, {n: p.grad for n, p in model.named_parameters()}))
    (expected, grads), (loss, again) = actual
    torch.testing.assert_close(loss, expected)
    for name, grad in grads.items():
        if grad is not None:
            torch.testing.assert_close(
                again[name], grad, rtol=1e-3, atol=1e-5, msg=name
            )
    assert grads.keys() == again.keys()
    assert bool(counters['stats']) == ('compile' in options)


def test_compiled_backbone_keeps_the_released_names():
    """A copy, as an average of weights makes one, and LoRA's adapters too."""
    plain, compiled = FGCLIP2ViT(TINY), FGCLIP2ViT(TINY, compile=AOT)
    inputs = batch_of(images((96, 160), (64, 64)))
    expected = plain(inputs)[0]
    torch.testing.assert_close(compiled(inputs)[0], expected)
    assert list(compiled.state_dict()) == list(plain.state_dict())
    compiled.load_state_dict(copy.deepcopy(compiled).state_dict())
    adapted = FGCLIP2ViT(TINY, compile=AOT, lora=dict(r=2))
    torch.testing.assert_close(adapted(inputs)[0], expected)
    names = FGCLIP2ViT(TINY, lora=dict(r=2)).state_dict()
    assert list(adapted.state_dict()) == list(names)


def test_blocks_of_a_kind_share_one_program():
    """Four blocks and images of three sizes: compiled once, never again."""
    backbone = FGCLIP2ViT(TINY, compile=AOT)
    for size in ((96, 160), (64, 96), (112, 48)):
        backbone(batch_of(images(size)))
    assert counters['stats']['unique_graphs'] <= 2


@pytest.mark.weekly
def test_inductor():
    """The real compiler, which needs a C++ compiler on a CPU."""
    inputs = batch_of(images((96, 160), (64, 64)))
    with torch.no_grad():
        actual = FGCLIP2ViT(TINY, compile=True)(inputs)[0]
        expected = FGCLIP2ViT(TINY)(inputs)[0]
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(window_size=4), 'all 4 blocks are global; name fewer'),
        (dict(global_blocks=[1]), 'needs a window_size, got 0'),
        (dict(window_size=-1), 'window_size: expected integers'),
        (dict(window_size=4, global_blocks=[4]), 'global_blocks: expected integers 0'),
    ],
)
def test_wrong_windows(options, message):
    with pytest.raises(ValueError, match=message):
        FGCLIP2ViT(TINY, **options)


def test_windows_of_large_images():
    """Default blocks of a size; a batch is its images; padding stays zero."""
    with torch.device('meta'):
        backbone = FGCLIP2ViT('base', window_size=16)
    assert backbone.vision_model.encoder.global_blocks == (2, 5, 8, 11)
    backbone = FGCLIP2ViT(TINY, output='both', window_size=4, global_blocks=(3,))
    inputs = images((96, 160), (64, 50))
    together = backbone(batch_of(inputs))
    plain = FGCLIP2ViT(TINY, output='both')(batch_of(inputs))
    assert (together[0] - plain[0]).abs().max() > 1e-3
    for i, image in enumerate(inputs):
        for joint, alone in zip(together, backbone(batch_of([image])), strict=True):
            h, w = alone.shape[-2:]
            torch.testing.assert_close(
                joint[i, :, :h, :w], alone[0], rtol=1e-4, atol=1e-5
            )
            assert not joint[i, :, h:].any() and not joint[i, :, :, w:].any()
