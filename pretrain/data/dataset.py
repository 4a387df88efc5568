"""Data set of records: images with their captions, boxes and phrases."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log
from mmengine.registry import DATASETS
from PIL import Image
from torch.utils.data import Dataset

from fgclip2_det.fgclip2.preprocess import load_image
from pretrain.data.augment import Augment
from pretrain.data.crops import object_samples
from pretrain.data.record_files import Paths, one_or_several, read_records
from pretrain.data.records import Sample, check_options, image_file, to_sample

VIEWS = ('image', 'objects')
BAD_RECORDS = ('raise', 'skip')
MAX_IN_A_ROW = 100  # bad records; then it is not the records that are wrong
_MAX_LOGGED = 10


class SampleMaker:
    """Turns a record and its image into samples, according to its options.

    Args:
        expr, max_anns, ann_choice, short_prefix: see
            :func:`pretrain.data.records.to_sample`.
        view: 'image' makes one sample of the whole image, 'objects' one per box
            (:func:`pretrain.data.crops.object_samples`).
        image_size: with 'image' the image is resized to this, a side or (h, w) in
            pixels; None leaves it as it is. With 'objects' it is the longer side of
            a view.
        context, jitter, position_grid: of 'objects'.
        augment: options of :class:`~pretrain.data.augment.Augment`, of 'image' without
            boxes (``max_anns=0``), which would lie elsewhere; None: images as they are.

    Raises:
        ValueError: for an option that is not one of these.
    """

    def __init__(
        self,
        expr: str = 'random',
        max_anns: int | None = 4,
        ann_choice: str = 'random',
        short_prefix: str = '',
        view: str = 'image',
        image_size: int | Sequence[int] | None = None,
        context: float | Sequence[float] = 1.25,
        jitter: float = 0.1,
        position_grid: int | None = None,
        augment: dict | None = None,
    ) -> None:
        self.options = check_options(expr, max_anns, ann_choice, short_prefix)
        if view not in VIEWS:
            raise ValueError(f'view must be one of {VIEWS}, got {view!r}')
        if view == 'objects' and not isinstance(image_size, int):
            raise ValueError(
                "view='objects' needs image_size, the side of a view in pixels, got "
                f'{image_size!r}'
            )
        several = isinstance(image_size, list | tuple)
        sizes: list[Any] = list(image_size) if several else [image_size] * 2
        whole = len(sizes) == 2 and all(isinstance(s, int) and s > 0 for s in sizes)
        if image_size is not None and not whole:
            raise ValueError(
                f'image_size must be a side or (h, w) in pixels, got {image_size!r}'
            )
        span: Any = context if isinstance(context, list | tuple) else [context] * 2
        low, high = span
        if not 1 <= low <= high or not 0 <= jitter < 1:
            raise ValueError(
                'context must be 1 or more, or a range, and jitter in [0, 1), got '
                f'{context} and {jitter}'
            )
        if augment is not None and (view != 'image' or max_anns != 0):
            raise ValueError(
                "augment is for whole images without boxes; set view='image' and "
                f'max_anns=0, got {view!r} and {max_anns!r}'
            )
        self.augment = None if augment is None else Augment(**augment)
        self.view, self.sizes = view, sizes
        self.image_size: Any = image_size  # of the kind that the view asks for
        self.crop: dict[str, Any] = dict(
            context=context, jitter=jitter, position_grid=position_grid
        )

    def __call__(
        self,
        record: dict,
        image: Image.Image,
        rng: np.random.Generator,
        name: str,
        folder: str = '',
    ) -> list[Sample]:
        """Samples of a record of ``folder``; ValueError naming it if it is not
        usable."""
        if self.augment is not None:
            size = None if self.image_size is None else tuple(self.sizes[::-1])
            image = self.augment(image, rng, size)
        elif self.view == 'image' and self.image_size is not None:
            height, width = self.sizes
            if image.size != (width, height):
                image = image.resize((width, height), Image.Resampling.BILINEAR)
        sample = to_sample(record, image, rng, name=name, folder=folder, **self.options)
        if self.view == 'image':
            return [sample]
        assert self.image_size is not None
        views = object_samples(sample, self.image_size, rng, **self.crop)
        if not views:
            raise ValueError(f"{name} has no boxes, and view='objects' needs them")
        return views


class BadRecords:
    """Handling of unusable records: raise, or skip and count them.

    Args:
        policy: 'raise' or 'skip'.

    Attributes:
        count: records left out by this process so far.
    """

    def __init__(self, policy: str = 'raise') -> None:
        if policy not in BAD_RECORDS:
            raise ValueError(
                f'bad_records must be one of {BAD_RECORDS}, got {policy!r}'
            )
        self.policy, self.count, self._in_a_row = policy, 0, 0

    def add(self, error: ValueError) -> None:
        """Raise the error, or count it; many in a row are an error in any case."""
        if self.policy == 'raise':
            raise error
        self.count += 1
        self._in_a_row += 1
        if self.count <= _MAX_LOGGED:
            is_last = self.count == _MAX_LOGGED
            last = '; further ones are counted, not logged' if is_last else ''
            print_log(
                f'left out a bad record: {error}{last}', 'current', logging.WARNING
            )
        if self._in_a_row >= MAX_IN_A_ROW:
            raise ValueError(
                f'{self._in_a_row} records in a row cannot be used, the last one: '
                f'{error}; is image_root right?'
            ) from error

    def add_good(self) -> None:
        """Reset the run of bad records."""
        self._in_a_row = 0


@DATASETS.register_module()
class AlignmentDataset(Dataset):
    """Records of images with bilingual texts, read on access.

    An item depends on the record and on the draw alone, not on which process or
    worker makes it: an index of :class:`~pretrain.data.sampler.BilingualSampler`
    knows its (seed, epoch); for any other index numpy's global generator decides.

    Args:
        ann: record files, see :func:`pretrain.data.record_files.read_records`.
        image_root: folder that ``f_path`` is relative to; or one for each of
            several ``ann``.
        bad_records: 'raise' a ValueError naming file and record; or 'skip': the
            next record of the same language takes its place and is counted
            (``Sample.num_bad``). No image is ever replaced by a dummy.
        allow_outside: whether records may name images outside ``image_root``, by '..',
            an absolute path or a link.
        **options: of :class:`SampleMaker`: ``expr``, ``max_anns``, ``ann_choice``,
            ``short_prefix``, ``view``, ``image_size``, ``context``, ``jitter``,
            ``position_grid``, ``augment``.

    Raises:
        ValueError: for a wrong option, or record files that cannot be read.

    Example:
        >>> data = AlignmentDataset('train.json', 'images', view='image')
        >>> [sample] = data[0]
        >>> sample.language, sample.bboxes.shape
        ('en', (4, 4))
    """

    def __init__(
        self,
        ann: Paths,
        image_root: Paths,
        bad_records: str = 'raise',
        allow_outside: bool = False,
        **options,
    ) -> None:
        self.make, self.bad = SampleMaker(**options), BadRecords(bad_records)
        self.allow_outside = allow_outside
        self.records = read_records(ann)
        several = isinstance(image_root, list | tuple)
        self.roots = [Path(root) for root in one_or_several(image_root)]
        num_given = len(ann) if isinstance(ann, list | tuple) else 1
        if several and len(self.roots) != num_given:
            raise ValueError(
                f'image_root must be one folder, or one for each of the {num_given} '
                f'ann, got {len(self.roots)}'
            )
        for root in self.roots:
            if not root.is_dir():
                raise ValueError(f'there is no folder {root} (image_root)')

    @property
    def metainfo(self) -> dict:
        """What MMEngine shows of a data set."""
        return dict(dataset_type=type(self).__name__)

    @property
    def languages(self) -> np.ndarray:
        """(N,) array of 'en' and 'zh'."""
        return self.records.languages

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> list[Sample]:
        """Samples of a record: one, or with view='objects' one per box."""
        rng, num_bad = item_rng(index), 0
        for number in self._candidates(range(len(self))[int(index)]):
            try:
                samples = self._read(number, rng)
            except ValueError as error:
                self.bad.add(error)
                num_bad += 1
                continue
            self.bad.add_good()
            samples[0].num_bad = num_bad
            return samples
        raise ValueError(f'none of the {num_bad} records of its language is usable')

    def _candidates(self, index: int) -> Iterator[int]:
        """The record, then the following ones of its language, cyclically."""
        language = self.records.language(index)
        for step in range(len(self)):
            number = (index + step) % len(self)
            if self.records.language(number) == language:
                yield number

    def _read(self, number: int, rng: np.random.Generator) -> list[Sample]:
        record, name = self.records[number], self.records.name(number)
        root = self.roots[self.records.source(number) if len(self.roots) > 1 else 0]
        path = image_file(root, record, name, self.allow_outside)
        try:
            image = load_image(path)
        except ValueError as error:
            raise ValueError(f'{name}: {error}') from error
        return self.make(record, image, rng, name, str(root))


def item_rng(index: int) -> np.random.Generator:
    """Generator of one item.

    Where :class:`~fgclip2_det.engine.hooks.reproducible_hook.OpenVocabReproducibleHook`
    seeds items it takes the numbered index away and leaves its seed in numpy's
    global generator; without it the index still has its numbers. Both give the same.
    """
    draw = getattr(index, 'draw', ())
    if not draw:
        return np.random.default_rng(np.random.randint(2**31))
    seed = int(np.random.SeedSequence(draw).generate_state(1)[0])
    return np.random.default_rng(np.random.RandomState(seed).randint(2**31))
