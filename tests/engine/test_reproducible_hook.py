"""Samples depend on (seed, rank, epoch, position), and on nothing else."""

import pickle
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from mmcv.transforms import RandomApply
from mmdet.datasets import AspectRatioBatchSampler
from mmdet.datasets.transforms import CachedMixUp, CachedMosaic, RandomFlip
from mmengine.dataset import Compose, DefaultSampler, InfiniteSampler
from mmengine.runner.loops import _InfiniteDataloaderIterator

from fgclip2_det.engine.hooks.reproducible_hook import (
    OpenVocabReproducibleHook,
    SeededDataset,
    _count_draws,
    seed_everything,
)


class Noise(Dataset):
    """A sample is its index and one number of each random generator."""

    def __getitem__(self, index):
        numbers = random.random(), np.random.rand(), torch.rand(()).item()
        return [index, *numbers]

    def __len__(self):
        return 6


def make_loader(sampler=DefaultSampler, workers=0, **kwargs):
    data = Noise()
    if workers:
        kwargs['persistent_workers'] = True
    loader = DataLoader(
        data,
        batch_size=2,
        sampler=sampler(data, shuffle=False, seed=0),
        num_workers=workers,
        collate_fn=list,
        **kwargs,
    )
    return loader, _count_draws(loader, 7, 0)


def read_epoch(loader, counter, epoch):
    seed_everything(epoch, 99)  # whatever happened before must not matter
    counter.set_epoch(epoch)
    return [sample for batch in loader for sample in batch]


def test_epochs_differ_and_workers_do_not_matter():
    loader, counter = make_loader()
    epochs = [read_epoch(loader, counter, epoch) for epoch in range(3)]
    assert epochs[0] != epochs[1] != epochs[2]
    assert [sample[0] for sample in epochs[1]] == list(range(6))
    workers, their_counter = make_loader(workers=2)
    for epoch in (0, 1, 2):  # the persistent workers' own generators have moved on
        assert read_epoch(workers, their_counter, epoch) == epochs[epoch]
    fresh, counter = make_loader()
    assert read_epoch(fresh, counter, 2) == epochs[2]


def test_an_infinite_sampler_goes_on_where_it_was():
    loader, _ = make_loader(InfiniteSampler)
    stream = iter(loader)
    batches = [next(stream) for _ in range(5)]
    resumed, counter = make_loader(InfiniteSampler)
    if not hasattr(counter, 'skip'):
        pytest.skip('this MMEngine advances its loader batch by batch')
    counter.skip(3 * 2)
    stream = iter(resumed)
    assert [next(stream), next(stream)] == batches[3:]
    assert batches[0] != batches[3]  # the same images, augmented anew


class Pictures(Noise):
    """Every third is upright, so that batches by shape hold some indices back."""

    def __len__(self):
        return 11

    def get_data_info(self, index):
        return dict(width=2, height=1 if index % 3 else 3)


class EveryOther(BatchSampler):
    """A batch sampler of one's own that takes twice as many indices as it gives."""

    def __iter__(self):
        indices = iter(self.sampler)
        for first in indices:
            yield [first, next(indices)]
            next(indices), next(indices)


def test_a_resumed_stream_goes_on_with_any_batch_sampler():
    """MMEngine skips steps * batch size indices, which only plain batches have taken;
    after any number of steps the batches and their random numbers are the same."""

    def stream(batch_sampler):
        data = Pictures()
        sampler = InfiniteSampler(data, seed=0)
        options = dict(batch_size=2, sampler=sampler)
        if batch_sampler is not None:
            options = dict(batch_sampler=batch_sampler(sampler, 2, False))
        loader = DataLoader(data, collate_fn=list, **options)
        counter = _count_draws(loader, 7, 0)
        return _InfiniteDataloaderIterator(loader), counter

    for batch_sampler in (None, BatchSampler, AspectRatioBatchSampler, EveryOther):
        whole, counter = stream(batch_sampler)
        even = batch_sampler in (None, BatchSampler)
        assert hasattr(counter, 'skip') == (even and hasattr(InfiniteSampler, 'skip'))
        batches = [next(whole) for _ in range(16)]
        for steps in range(1, 12):
            resumed, _ = stream(batch_sampler)
            if hasattr(resumed, 'skip_iter'):
                resumed.skip_iter(steps)
            else:  # OpenMMLab's MMEngine has no other way
                [next(resumed) for _ in range(steps)]
            assert [next(resumed) for _ in range(16 - steps)] == batches[steps:]


def test_wrapping_twice_and_other_loaders():
    loader, counter = make_loader()
    assert _count_draws(loader, 7, 0) is counter
    assert len(loader) == 3 and loader.sampler is counter
    data = Noise()
    batches = BatchSampler(DefaultSampler(data, shuffle=False), 3, drop_last=False)
    custom = DataLoader(data, batch_sampler=batches, collate_fn=list)
    assert _count_draws(custom, 7, 0) is batches.sampler

    class Stream(IterableDataset):
        def __iter__(self):
            yield from range(3)

    assert _count_draws(DataLoader(Stream()), 7, 0) is None


def test_the_dataset_stays_itself():
    data = Noise()
    data.pipeline = 'old'
    seeded = SeededDataset(data)
    seeded.pipeline = 'new'  # as MMDetection's PipelineSwitchHook does
    assert data.pipeline == seeded.pipeline == 'new' and len(seeded) == 6
    assert pickle.loads(pickle.dumps(seeded)).pipeline == 'new'
    with pytest.raises(AttributeError):
        _ = seeded.absent


def start(*pipelines) -> list[str]:
    """What is said at the start of a training on one data set a pipeline."""
    children = [SimpleNamespace(dataset=Noise()) for _ in pipelines]
    for child, pipeline in zip(children, pipelines, strict=True):
        child.dataset.pipeline = pipeline
    loader, _ = make_loader()
    loader.dataset.datasets = children
    said: list[str] = []
    runner = SimpleNamespace(
        seed=0, train_loop=SimpleNamespace(dataloader=loader),
        logger=SimpleNamespace(warning=said.append),
    )  # fmt: skip
    OpenVocabReproducibleHook().before_train(runner)
    return said


def test_transforms_that_no_resume_repeats_are_named():
    """Their pictures are made of images that the same process had before."""
    mosaic, flip = CachedMosaic(img_scale=(8, 8), pad_val=0.0), RandomFlip(0.5)
    mixup = CachedMixUp(img_scale=(8, 8), max_cached_images=20)
    assert start(Compose([flip]), Compose([])) == start() == []
    inside = RandomApply([flip, mixup])
    [said] = start(Compose([flip, mosaic]), [mosaic, inside])
    assert said.startswith('CachedMosaic, CachedMixUp of the training pipeline mix in')
    [said] = start(Compose([inside]))
    assert said.startswith('CachedMixUp of')


def test_those_transforms_keep_images_of_earlier_draws():
    """The premise of the warning: one draw of one seed, two pictures."""

    def picture() -> np.ndarray:
        seed_everything(3)
        shape = 8, 8, 3
        sample = dict(
            img=np.full(shape, 9, np.uint8), gt_bboxes=np.zeros((0, 4), np.float32),
            gt_bboxes_labels=np.zeros(0, int), gt_ignore_flags=np.zeros(0, bool),
        )  # fmt: skip
        return mosaic(sample)['img']

    mosaic = CachedMosaic(img_scale=(8, 8), pad_val=0.0)
    first = picture()
    for _ in range(4):
        last = picture()
    assert first.shape != last.shape and len(mosaic.results_cache) == 5
