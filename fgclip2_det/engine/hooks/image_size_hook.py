"""Check image sizes against the annotation file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mmdet.registry import HOOKS
from mmdet.structures import DetDataSample
from mmengine.hooks import Hook
from mmengine.runner import Runner

from fgclip2_det.engine.annotated_sizes import Size, annotated_sizes
from fgclip2_det.fgclip2.image import describe_sizes, read_header


@HOOKS.register_module()
class OpenVocabImageSizeHook(Hook):
    """Stop an evaluation if the annotation file gives an image another size.

    Detections are in pixels of the loaded image, the ground truth in pixels of the
    annotation file. MMDetection's ``LoadImageFromFile`` does not compare the two and
    ignores the EXIF orientation of WebP and AVIF files. ``OpenVocabLoadImage`` makes
    this check itself.

    Raises:
        ValueError: with three sizes: of the upright file, of the annotation file and
            of the image that the detector was given.
    """

    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        self.sizes: dict[str, Size] = {}

    def before_val_epoch(self, runner: Runner) -> None:
        """Read the sizes in the validation set's annotation file."""
        self.sizes = annotated_sizes(runner.val_loop)

    def before_test_epoch(self, runner: Runner) -> None:
        """Read the sizes in the test set's annotation file."""
        self.sizes = annotated_sizes(runner.test_loop)

    def before_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None
    ) -> None:
        """Compare the image sizes of a batch with the annotated ones."""
        for sample in _samples((data_batch or {}).get('data_samples')):
            self._check(sample)

    before_test_iter = before_val_iter

    def _check(self, sample: DetDataSample) -> None:
        path, shape = str(sample.get('img_path')), sample.get('ori_shape')
        annotated = self.sizes.get(path)
        if annotated is None or shape is None or annotated == (shape[1], shape[0]):
            return
        seen = shape[1], shape[0]
        sizes = f'{annotated[0]:g} x {annotated[1]:g} and {seen[0]} x {seen[1]}'
        if Path(path).is_file():
            sizes = describe_sizes(read_header(path), annotated, seen)
        raise ValueError(
            f'{path}: {sizes}; correct width, height and boxes in the annotation file, '
            'or load images with OpenVocabLoadImage, which makes all of them upright'
        )


def _samples(batch: object) -> Iterator[DetDataSample]:
    """Data samples of a batch, including nested lists of test-time augmentation."""
    if isinstance(batch, DetDataSample):
        yield batch
    elif isinstance(batch, list | tuple):
        for each in batch:
            yield from _samples(each)
