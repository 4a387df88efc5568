"""Data set of COCO annotation files with a base/novel split of the classes."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, ClassVar

from fgclip2_det.compat import mm  # before mmdet

# isort: split
import torch
from mmdet.datasets import CocoDataset
from mmdet.registry import DATASETS
from mmengine.fileio import exists, get, join_path
from mmengine.logging import MMLogger

from fgclip2_det.coco.annotation_file import CocoFile, parse_coco
from fgclip2_det.coco.class_split import resolve_classes
from fgclip2_det.coco.masks import annotation_mask_fault, has_no_polygon
from fgclip2_det.coco.published_splits import CLASS_SPLITS
from fgclip2_det.io.text import decode_json

from .missing_masks import ignore_missing_masks
from .transforms import UnreadableImageError


@DATASETS.register_module()
class OpenVocabCocoDataset(CocoDataset):
    """Any COCO annotation file, with base and novel classes.

    Classes are those of ``metainfo['classes']`` or else of the file. Base classes come
    first in the label order (see :func:`resolve_classes`); all other categories of the
    file are dropped. Once the annotations are loaded, ``metainfo`` has ``classes``,
    ``base_classes``, ``novel_classes``, ``category_ids`` (per class; None if the file
    has no such category) and ``language``.

    Boxes that cross the image border are clipped to it, and boxes below one pixel are
    dropped, as in MMDetection. Boxes with ``ignore: 1`` are ignored like crowds, and an
    ``area`` that is 0 or missing is width x height; MMDetection drops both without a
    word. Images without boxes are treated by ``filter_cfg``. If the pipeline loads
    masks, an instance without one (``segmentation: []``) is ignored like a crowd, with
    its box as mask; their number is logged once.

    Args:
        base_classes: classes to train on, by any of their names in the file.
        novel_classes: classes for evaluation; if only these are given, all others are
            base. An empty list: every class is base; None: the list of ``metainfo``, or
            the ``split`` of the file's categories. ``base_classes`` likewise.
        class_split: instead of the two lists: a name in ``CLASS_SPLITS`` ('ov_coco'),
            or a JSON file with the keys ``base`` and ``novel`` (relative to
            ``data_root``).
        language: ``'en'`` (``name_en``, else ``name``) or ``'zh'`` (``name_zh``).
        only_base: drop novel annotations, for training; their images stay, and novel
            classes stay in ``metainfo`` even if the file lacks them.
        on_bad_image: ``'raise'``, or in training ``'skip'``: an unreadable image is
            logged once, counted in ``num_bad_images`` and replaced by the next one.
        args, kwargs: as for MMDetection's ``CocoDataset``.

    Raises:
        ValueError: naming file and entry, for a value of the wrong type, an unknown
            category or image, a box that is not four finite numbers, has negative
            sides or lies outside its image, a mask that pycocotools cannot read (if
            the pipeline loads masks), duplicate names or ids, or requested classes
            that are not in the file. Also if filtering leaves no image to train on, or
            if the pipeline loads masks and no annotation has one.

    Example:
        >>> dataset = OpenVocabCocoDataset(
        ...     ann_file='valid.json',
        ...     data_root='data/chess',
        ...     novel_classes=['black-king'],
        ... )
        >>> len(dataset.metainfo['base_classes'])
        11
    """

    METAINFO: ClassVar[dict] = {}

    def __init__(
        self,
        *args,
        base_classes: Sequence[str] | None = None,
        novel_classes: Sequence[str] | None = None,
        class_split: str | None = None,
        language: str = 'en',
        only_base: bool = False,
        on_bad_image: str = 'raise',
        **kwargs,
    ) -> None:
        if class_split and (base_classes is not None or novel_classes is not None):
            raise ValueError(
                'give class_split, or base_classes and novel_classes, not both'
            )
        if on_bad_image not in ('raise', 'skip'):
            raise ValueError(
                f"on_bad_image must be 'raise' or 'skip', got {on_bad_image!r}"
            )
        if on_bad_image == 'skip' and kwargs.get('test_mode'):
            raise ValueError(
                "on_bad_image='skip' is for training; an evaluation needs all images"
            )
        self.base_classes, self.novel_classes = base_classes, novel_classes
        self.class_split, self.language = class_split, language
        self.only_base, self.on_bad_image = only_base, on_bad_image
        super().__init__(*args, **({'data_prefix': {'img': ''}} | kwargs))

    def load_data_list(self) -> list[dict]:
        """Read and check the annotation file; one dictionary per image."""
        coco = parse_coco(self._read_json(self.ann_file), self.ann_file)
        images = coco.images
        self._set_classes(self._class_entries(coco))
        annotations = defaultdict(list)
        self.cat_img_map = defaultdict(set)
        for annotation in coco.annotations:
            if self._loads_masks:
                self._check_mask(annotation, images[annotation['image_id']])
            _, _, width, height = annotation['bbox']
            # MMDetection leaves out boxes whose area is 0
            annotation['area'] = annotation.get('area') or width * height
            annotations[annotation['image_id']].append(annotation)
            self.cat_img_map[annotation['category_id']].add(annotation['image_id'])
        data_list = [
            self.parse_data_info(
                {
                    'raw_img_info': {**image, 'img_id': image_id},
                    'raw_ann_info': annotations[image_id],
                }
            )
            for image_id, image in images.items()
        ]
        if self._loads_masks:
            ignore_missing_masks(self.ann_file, data_list)
        return data_list

    def parse_data_info(self, raw_data_info: dict) -> dict:
        """One image's entry, boxes (x1, y1, x2, y2) clipped to the image."""
        annotations = [
            # MMDetection would take their regions for background
            {**entry, 'ignore': 0, 'iscrowd': 1} if entry.get('ignore') else entry
            for entry in raw_data_info['raw_ann_info']
        ]
        data_info = super().parse_data_info(
            {**raw_data_info, 'raw_ann_info': annotations}
        )
        width, height = data_info['width'], data_info['height']
        for instance in data_info['instances']:
            x1, y1, x2, y2 = instance['bbox']
            x1, y1, x2, y2 = max(x1, 0), max(y1, 0), min(x2, width), min(y2, height)
            instance['bbox'] = [x1, y1, x2, y2]
        return data_info

    def get_data_info(self, idx: int) -> dict:
        """An image's entry, with ``class_names`` in label order."""
        data_info = super().get_data_info(idx)
        data_info['class_names'] = self._metainfo['classes']
        return data_info

    @property
    def _loads_masks(self) -> bool:
        transforms = getattr(self.pipeline, 'transforms', ())
        return any(getattr(t, 'with_mask', False) for t in transforms)

    def _set_classes(self, categories: list[dict]) -> None:
        base, novel = self._listed('base_classes'), self._listed('novel_classes')
        if self.class_split:
            base, novel = self._load_split(self.class_split)
        try:
            split = resolve_classes(
                categories,
                self._metainfo.get('classes'),
                base,
                novel,
                self.language,
                novel_may_lack=self.only_base,
            )
        except ValueError as error:
            source = f' (class_split {self.class_split})' if self.class_split else ''
            raise ValueError(f'{self.ann_file}{source}: {error}') from error
        self._metainfo.update(vars(split), language=self.language)
        loaded = set(split.base_classes if self.only_base else split.classes)
        self.cat2label = {
            category_id: label
            for label, category_id in enumerate(split.category_ids)
            if split.classes[label] in loaded
        }
        self.cat_ids = list(self.cat2label)

    def _listed(self, name: str) -> Sequence[str] | None:
        """The option ``base_classes`` or ``novel_classes``, else that of metainfo."""
        given = getattr(self, name)
        return self._metainfo.get(name) if given is None else given

    def _check_mask(self, annotation: dict, image: dict) -> None:
        if has_no_polygon(annotation.get('segmentation')):
            return
        if fault := annotation_mask_fault(annotation, image):
            raise ValueError(f'{self.ann_file}: annotation {annotation["id"]}: {fault}')

    def _class_entries(self, coco: CocoFile) -> list[dict]:
        asked = set(self._metainfo.get('classes') or ())
        for name in ('base_classes', 'novel_classes'):
            given = self._listed(name)
            asked |= set(given if isinstance(given, list | tuple) else ())
        return coco.classes(asked)

    def _load_split(self, name: str) -> tuple[Sequence[str], Sequence[str]]:
        split = CLASS_SPLITS.get(name)
        if split is None:
            path = join_path(self.data_root or '', name)
            split = self._read_json(path)
            for key in ('base', 'novel'):
                if not isinstance(split, dict) or key not in split:
                    raise ValueError(
                        f'{path} must be a JSON object with the key {key!r}'
                    )
        return split['base'], split['novel']

    def _read_json(self, path: str) -> Any:
        if not exists(path, backend_args=self.backend_args):
            raise ValueError(
                f'{path} does not exist; check data_root and ann_file (or class_split, '
                f'which may also be one of {list(CLASS_SPLITS)})'
            )
        try:
            data = get(path, backend_args=self.backend_args)
        except OSError as error:
            raise ValueError(f'{path} is not a complete JSON file ({error})') from error
        return decode_json(data, path)

    def filter_data(self) -> list[dict]:
        """Images that ``filter_cfg`` keeps, at least one."""
        kept = super().filter_data()
        if not kept and not self.test_mode:
            raise ValueError(
                f'{self.ann_file}: no image with boxes of base classes is left; '
                'check class names and filter_cfg'
            )
        return kept

    def full_init(self) -> None:
        """Load the annotations and initialise the flags of bad images."""
        if not self._fully_initialized:
            super().full_init()
            self._reset_bad_images()

    def get_subset_(self, indices: Sequence[int] | int) -> None:
        """Keep a subset, as in MMEngine; the count of bad images restarts."""
        super().get_subset_(indices)
        self._reset_bad_images()

    def _reset_bad_images(self) -> None:
        # (len(self),) 1 = could not be read. In shared memory, because worker processes
        # write it. Flags per image need no lock and count no image twice.
        size = len(self) if self.on_bad_image == 'skip' else 0
        self.bad_image_flags = torch.zeros(size, dtype=torch.uint8).share_memory_()

    @property
    def num_bad_images(self) -> int:
        """Number of images skipped so far, in this process and its workers."""
        return int(self.bad_image_flags.sum())

    def prepare_data(self, idx: int) -> dict | None:
        """Pipeline result for an image, or for the next readable one.

        Raises:
            UnreadableImageError: naming file and image id, unless bad images are
                skipped.
            ValueError: if no image can be read.
        """
        for _ in range(len(self)):
            try:
                return super().prepare_data(idx)
            except UnreadableImageError as error:
                if self.on_bad_image == 'raise':
                    raise
                self._report_bad_image(idx, error)
                idx = (idx + 1) % len(self)
        raise ValueError(f'{self.ann_file}: none of its {len(self)} images can be read')

    def _report_bad_image(self, index: int, error: UnreadableImageError) -> None:
        if not self.bad_image_flags[index]:
            self.bad_image_flags[index] = 1
            MMLogger.get_current_instance().warning(f'skipped {error}')
