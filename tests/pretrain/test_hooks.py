"""The start, the log line and the result of a run."""

import logging
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.hooks import EMAHook
from mmengine.logging import MessageHub
from torch.utils.data import DataLoader, Dataset, IterableDataset

from fgclip2_det.fgclip2 import FGCLIP2
from pretrain.averaging import AlignmentEMA
from pretrain.data import AlignmentCollate
from pretrain.export import export_encoder
from pretrain.hooks import (
    AlignmentThroughputHook,
    ExportFGCLIP2Hook,
    WhitenedPatchesHook,
    alignment_throughput_hook,
    export_fgclip2_hook,
)
from pretrain.hooks.whitened_patches_hook import _seeded_item
from pretrain.model import FGCLIP2Alignment


def make_runner(model, work_dir=None, **parts) -> SimpleNamespace:
    """What hooks look at of MMEngine's Runner."""
    defaults = dict(
        iter=0,
        hooks=[],
        _has_loaded=False,
        logger=logging.getLogger('test'),
        message_hub=MessageHub('test'),
    )
    return SimpleNamespace(model=model, work_dir=work_dir, **(defaults | parts))


@pytest.fixture
def model(small_encoder):
    return FGCLIP2Alignment(dict(pretrained=small_encoder), dict(preset='paper'))


# -------------------------------------------------------------------------- throughput
def test_rates_are_all_images_and_tokens_over_the_time(model, make_batch, monkeypatch):
    """Two steps of 4 and 3 images in 2 s are 3.5 images/s. Nothing is told in between,
    and the next interval starts from zero."""
    clock = iter([100.0, 102.0, 102.5, 106.5, 107.0])  # start, told, start, told, start
    monkeypatch.setattr(
        alignment_throughput_hook.time, 'perf_counter', lambda: next(clock)
    )
    runner, hook = make_runner(model), AlignmentThroughputHook(interval=2)
    batches = [make_batch(), make_batch(boxes=(1, 0, 1))]
    tokens = []
    for batch in batches:
        num_texts = sum(len(k.unique()) for k in (batch.short_keys, batch.box_keys))
        patches = batch.images.pixel_values[..., 0].numel()
        long = len(batch.long_keys.unique())
        tokens.append(patches + 64 * num_texts + 196 * long)
    hook.before_train_epoch(runner)
    hook.after_train_iter(runner, 0, batches[0])
    scalars = runner.message_hub.log_scalars
    assert 'train/images_per_s' not in scalars
    runner.iter = 1
    hook.after_train_iter(runner, 1, batches[1])
    assert scalars['train/images_per_s'].current() == 3.5
    assert scalars['train/tokens_per_s'].current() == sum(tokens) / 2
    for runner.iter in (2, 3):
        hook.after_train_iter(runner, runner.iter, batches[0])
    assert scalars['train/images_per_s'].current() == 8 / 4
    assert scalars['train/tokens_per_s'].current() == 2 * tokens[0] / 4


def test_bad_records_are_told(model, make_batch, caplog):
    """Not before there is one; at the end once more."""
    runner, hook = make_runner(model), AlignmentThroughputHook(interval=1)
    hook.before_train_epoch(runner)
    hook.after_train_iter(runner, 0, make_batch())
    hook.after_train(runner)
    scalars = runner.message_hub.log_scalars
    assert 'train/bad_records' not in scalars and not caplog.messages
    model.data_preprocessor.num_bad = 3
    hook.after_train_iter(runner, 1, make_batch())
    hook.after_train(runner)
    assert scalars['train/bad_records'].current() == 3
    assert caplog.messages == ['bad records, left out: 3']


def test_tokens_that_no_tower_reads_do_not_count(small_encoder, make_batch):
    batch = make_batch()
    model = FGCLIP2Alignment(
        dict(pretrained=small_encoder), dict(stage=1, long=0, short=1)
    )
    hook = AlignmentThroughputHook()
    hook.before_train_epoch(make_runner(model))
    hook.after_train_iter(make_runner(model), 0, batch)
    patches = batch.images.pixel_values[..., 0].numel()
    texts = len(batch.short_keys.unique())
    assert hook.counts.tolist() == [4, patches + 64 * texts]


# --------------------------------------------------------------------------- whitening
class RandomImages(Dataset):
    """Samples whose images depend on numpy's generator as augmentations do."""

    def __init__(self, make_samples, num: int = 90) -> None:
        self.samples = make_samples(boxes=(0,) * num)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int):
        shift = np.random.default_rng(list(index.draw)).integers(2)
        sample = self.samples[index]
        image = sample.image.crop((shift, 0, *sample.image.size))
        return [replace(sample, image=image)]


@pytest.fixture
def loader(make_samples):
    return DataLoader(
        RandomImages(make_samples), collate_fn=AlignmentCollate(max_num_patches=12)
    )


def patch_embedding(model) -> torch.nn.Linear:
    return model.encoder.vision_model.embeddings.patch_embedding


def test_whitened_start_is_isotropic_and_the_same_everywhere(loader):
    """Covariance of the outputs on the training images: 0.25 v / (v + 0.001 v_1)
    along each direction of variance v, nothing between directions."""
    weights = []
    for seed in range(2):
        np.random.seed(seed)  # processes differ in it
        model = FGCLIP2Alignment(dict(size='tiny', seed=0), dict(stage=1))
        runner = make_runner(model, train_dataloader=loader)
        before = patch_embedding(model).weight.clone()
        WhitenedPatchesHook(num_batches=2).before_train(runner)
        weights.append(patch_embedding(model).weight.detach().clone())
        assert not torch.equal(weights[-1], before)
    assert torch.equal(*weights)
    indices = [_seeded_item(loader.dataset, i) for i in range(90)]
    images = loader.collate_fn(indices).images
    patches = images.pixel_values[images.patch_mask]
    with torch.no_grad():
        outputs = patch_embedding(model)(patches)[:, :64]
    covariance = torch.cov(outputs.T)
    spectrum = torch.linalg.eigvalsh(torch.cov(patches.T)).flip(0)[:64]
    expected = 0.25 * spectrum / (spectrum + 1e-3 * spectrum[0])
    torch.testing.assert_close(covariance.diagonal(), expected, rtol=0.02, atol=0)
    assert expected.min() > 0.24  # noise: all 64 directions count alike
    off = covariance - covariance.diagonal().diag()
    assert off.abs().max() < 0.01
    assert outputs.mean(0).abs().max() < 0.02


@pytest.mark.parametrize('case', ['resumed', 'loaded', 'pretrained'])
def test_whitening_leaves_trained_weights_alone(loader, small_encoder, case):
    encoder = dict(size='tiny')
    if case == 'pretrained':
        encoder = dict(pretrained=small_encoder)
    model = FGCLIP2Alignment(encoder, dict(stage=1))
    before = patch_embedding(model).weight.clone()
    runner = make_runner(
        model,
        train_dataloader=loader,
        iter=7 if case == 'resumed' else 0,
        _has_loaded=case != 'pretrained',
    )
    WhitenedPatchesHook().before_train(runner)
    assert torch.equal(patch_embedding(model).weight, before)


def test_whitening_needs_indices():
    class Stream(IterableDataset):
        def __iter__(self):
            yield from ()

    model = FGCLIP2Alignment(dict(size='tiny'), dict(stage=1))
    runner = make_runner(model, train_dataloader=DataLoader(Stream()))
    with pytest.raises(ValueError, match='needs a data set with indices'):
        WhitenedPatchesHook().before_train(runner)


# ------------------------------------------------------------------------------ export
def test_export_loads_with_equal_weights(model, tmp_path):
    with torch.no_grad():
        model.encoder.boxtext_head.weight.add_(1.0)
    ExportFGCLIP2Hook().after_train(make_runner(model, tmp_path))
    loaded = FGCLIP2.from_pretrained(tmp_path / 'model')
    expected = model.encoder.state_dict()
    state = loaded.state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], expected[name]) for name in state)
    assert loaded.config == model.encoder.config
    text = ['红色圆形']
    with torch.no_grad():
        theirs, ours = loaded.encode_text(text), model.encoder.encode_text(text)
    torch.testing.assert_close(theirs, ours)
    assert model.encoder.boxtext_head.weight.requires_grad  # training could go on


def test_export_in_bfloat16_is_half_the_size(model, tmp_path):
    folder = tmp_path / 'elsewhere'
    for dtype in ('float32', 'bfloat16'):
        hook = ExportFGCLIP2Hook(str(folder / dtype), dtype)
        hook.after_train(make_runner(model, tmp_path))
    sizes = {
        dtype: (folder / dtype / 'model.safetensors').stat().st_size
        for dtype in ('float32', 'bfloat16')
    }
    numbers = sum(p.numel() for p in model.encoder.parameters())
    assert 0 < sizes['bfloat16'] - 2 * numbers < 20_000  # the header
    assert 0 < sizes['float32'] - 4 * numbers < 20_000
    assert model.encoder.logit_scale.dtype == torch.float32
    loaded = FGCLIP2.from_pretrained(folder / 'bfloat16')
    for name, value in model.encoder.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value.bfloat16().float()), name


def test_export_of_an_average(model, tmp_path):
    """Where an EMAHook keeps an average, that is the result."""
    hook = EMAHook('AlignmentEMA')
    hook.ema_model = AlignmentEMA(model)
    with torch.no_grad():
        model.encoder.boxtext_head.weight.add_(1.0)
    ExportFGCLIP2Hook().after_train(make_runner(model, tmp_path, hooks=[hook]))
    loaded = FGCLIP2.from_pretrained(tmp_path / 'model').boxtext_head.weight
    torch.testing.assert_close(loaded, model.encoder.boxtext_head.weight - 1)


def test_only_the_first_process_exports(model, tmp_path, monkeypatch):
    monkeypatch.setattr(export_fgclip2_hook, 'is_main_process', lambda: False)
    ExportFGCLIP2Hook().after_train(make_runner(model, tmp_path))
    assert not (tmp_path / 'model').exists()


def test_export_refuses_integers(model, tmp_path):
    with pytest.raises(ValueError, match="dtype must be a float type or None, got 'i"):
        ExportFGCLIP2Hook(dtype='int8')
    export_encoder(model.encoder, tmp_path / 'a')
    export_encoder(model.encoder, tmp_path / 'a')  # over an earlier one
