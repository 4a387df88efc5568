"""Draw ground truth and predictions after each evaluation."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from mmdet.registry import HOOKS
from mmdet.structures import DetDataSample
from mmengine.dist import get_world_size, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, Runner
from PIL import Image
from torch import Tensor

from ...fgclip2.detector_image import detector_image
from ...fgclip2.image import describe_sizes, read_header
from ...io.atomic import open_atomic
from ...visualization import contact_sheet, draw_detections, draw_label_map
from ..annotated_sizes import Size, annotated_sizes


@HOOKS.register_module()
class OpenVocabVisualizationHook(Hook):
    """Draw the first evaluated images, ground truth beside predictions: boxes, or the
    label maps of a segmentor.

    ``vis/*.png`` are the images and ``detections.png`` is a contact sheet of them, both
    in the work dir and replaced by each evaluation. Images are drawn in the detector's
    orientation; a warning reports different sizes of image file, annotation file and
    the detector's image.

    Args:
        num_images: number of images; -1 for all, 0 for none.
        score_thr: lowest score of a drawn prediction.
        max_boxes: number of predictions drawn per image, the best first.
        out_dir: folder to use instead of the work dir.

    Example:
        >>> custom_hooks = [dict(type='OpenVocabVisualizationHook', num_images=8)]
    """

    priority = 'LOWEST'

    def __init__(
        self,
        num_images: int = 8,
        score_thr: float = 0.3,
        max_boxes: int = 20,
        out_dir: str | None = None,
    ) -> None:
        self.num_images, self.score_thr = num_images, score_thr
        self.max_boxes, self.out_dir = max_boxes, out_dir
        self.pairs: list[Image.Image] = []
        self.count = 0
        self.annotated: dict[str, Size] = {}

    def before_val_epoch(self, runner: Runner) -> None:
        """Start over."""
        self._start(runner.val_loop)

    def before_test_epoch(self, runner: Runner) -> None:
        """Start over."""
        self._start(runner.test_loop)

    def after_val_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict,
        outputs: Sequence[DetDataSample],
    ) -> None:
        """Draw the images of a batch, up to ``num_images`` in total."""
        dataset = _dataset_meta(runner)
        for inputs, sample in zip(_plain_views(data_batch), outputs, strict=True):
            wanted = self.num_images < 0 or self.count < self.num_images
            drawable = 'pred_instances' in sample or 'pred_sem_seg' in sample
            if not (wanted and is_main_process() and drawable):
                return
            self._draw(runner, inputs, sample, dataset)

    after_test_iter = after_val_iter

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Write the contact sheet."""
        if self.pairs:
            path = self._folder(runner) / 'detections.png'
            _save(contact_sheet(self.pairs, columns=1 + (len(self.pairs) > 3)), path)
            runner.logger.info(f'{self.count} drawn: {path} and {path.parent}/vis')
        self.pairs = []

    after_test_epoch = after_val_epoch

    def _start(self, loop: BaseLoop) -> None:
        self.pairs, self.count = [], 0
        wanted = self.num_images * get_world_size()
        self.annotated = annotated_sizes(loop, wanted if wanted >= 0 else None)

    def _folder(self, runner: Runner) -> Path:
        return Path(self.out_dir or runner.work_dir)

    def _draw(
        self, runner: Runner, inputs: Tensor, sample: DetDataSample, meta: dict
    ) -> None:
        annotated = self.annotated.get(str(sample.get('img_path')))
        image = _load_image(runner, inputs, sample, annotated)
        pixels = 'pred_sem_seg' in sample
        panes = (_label_panes if pixels else self._box_panes)(image, sample, meta)
        pair = contact_sheet(panes, columns=2, gap=4)
        stem = Path(sample.metainfo.get('img_path') or f'image_{self.count}').stem
        path = self._folder(runner) / 'vis' / f'{self.count:03d}_{stem}.png'
        _save(pair, path)
        if self.count < 16:  # more would be too small on the sheet
            self.pairs.append(pair)
        self.count += 1

    def _box_panes(
        self, image: Image.Image, sample: DetDataSample, meta: dict
    ) -> list[Image.Image]:
        panes = []
        if 'labels' in sample.get('gt_instances', ()):
            truth = sample.gt_instances
            names = _names(truth, sample, meta)
            title = 'ground truth'
            panes += [
                draw_detections(image, _boxes(truth), names, min_size=480, title=title)
            ]
        pred_instances = sample.pred_instances
        panes += [
            draw_detections(
                image,
                _boxes(pred_instances),
                _names(pred_instances, sample, meta),
                pred_instances.scores,
                score_thr=self.score_thr,
                max_boxes=self.max_boxes,
                min_size=480,
                title=f'prediction, score ≥ {self.score_thr:g}',
            )
        ]
        return panes


def _label_panes(
    image: Image.Image, sample: DetDataSample, meta: dict
) -> list[Image.Image]:
    """Truth, where there is one in the image's own pixels, and prediction."""
    names = [str(name) for name in meta.get('classes', ())]
    panes = []
    for key, title in (('gt_sem_seg', 'ground truth'), ('pred_sem_seg', 'prediction')):
        if key not in sample:
            continue
        labels = sample.get(key).sem_seg[0].cpu().numpy().astype(np.int64)
        if labels.shape == image.size[::-1]:
            own = draw_label_map(image, labels, names, min_size=480, title=title)
            panes.append(own)
    return panes


def _save(image: Image.Image, path: Path) -> None:
    with open_atomic(path) as file:
        image.save(file, format='PNG')


def _plain_views(data_batch: dict) -> Sequence[Tensor]:
    """One input per image; with test-time augmentation, the first view."""
    inputs = data_batch['inputs']
    return inputs[0] if isinstance(inputs[0], list | tuple) else inputs


def _dataset_meta(runner: Runner) -> dict:
    """Metainfo of the dataset being evaluated, as MMEngine gives it to visualizers."""
    return getattr(runner.visualizer, 'dataset_meta', None) or {}


def _names(instances, sample: DetDataSample, meta: dict) -> list[str]:
    """Name of each instance: from its own names, the sample's or the dataset's."""
    if 'label_names' in instances:
        return [str(name) for name in instances.label_names]
    known = sample.metainfo
    classes = known.get('texts') or known.get('classes') or meta.get('classes', ())
    labels = instances.labels.tolist()
    return [str(classes[i]) if i < len(classes) else f'#{i}' for i in labels]


def _boxes(instances) -> Tensor:
    """(N, 4) xyxy, also from MMDetection's box objects."""
    return getattr(instances.bboxes, 'tensor', instances.bboxes)


def _load_image(
    runner: Runner, inputs: Tensor, sample: DetDataSample, annotated: Size | None
) -> Image.Image:
    """The original image in the orientation that the detector saw.

    Taken from the network's input if there is no file, and with a warning if the file
    cannot be read or has another size.
    """
    path = Path(str(sample.metainfo.get('img_path', '')))
    if path.is_file():
        try:
            image = detector_image(sample.metainfo, inputs)
            if annotated not in (None, image.size):
                sizes = describe_sizes(read_header(path), annotated, image.size)
                runner.logger.warning(f'{path}: {sizes}; its boxes are misplaced')
            return image
        except ValueError as error:
            runner.logger.warning(f"{error}; drawn from the network's input")
    model = getattr(runner.model, 'module', runner.model)
    height, width = sample.metainfo['img_shape'][:2]
    pixels = inputs[:, :height, :width]
    if getattr(model.data_preprocessor, '_channel_conversion', False):
        pixels = pixels.flip(0)  # loaded as BGR
    pixels = pixels.clamp(0, 255).to(torch.uint8).permute(1, 2, 0)
    image = Image.fromarray(np.ascontiguousarray(pixels.cpu().numpy()))
    height, width = sample.metainfo.get('ori_shape', (height, width))[:2]
    return image.resize((width, height))
