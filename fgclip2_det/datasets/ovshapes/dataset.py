"""OVShapes: a procedural, bilingual data set, generated on first use."""

import os

from fgclip2_det.compat import mm  # before mmdet

# isort: split
from mmdet.registry import DATASETS
from mmengine.dist import barrier, get_rank

from fgclip2_det.datasets.open_vocab_coco import OpenVocabCocoDataset

from .generate import SPLITS, generate_ovshapes, ovshapes_folder
from .label_maps import generate_label_maps, label_map_folder


@DATASETS.register_module()
class OVShapesDataset(OpenVocabCocoDataset):
    """Colour x shape objects, generated on first use.

    80 classes: 48 base, 17 novel whose colour and shape both occur in base classes,
    15 unused that appear nowhere. The train split has base objects only, the val split
    base and novel ones. Equal parameters share one folder below ``data_root``.

    Args:
        data_root: parent folder of the folders of :func:`generate_ovshapes`.
        split: ``'train'`` or ``'val'``.
        num_train: number of images of the train split.
        num_val: number of images of the val split.
        image_size: side in pixels.
        seed: seed of the images.
        with_seg: also give each image its label map, for ``LoadAnnotations`` with
            ``with_seg=True``; see :func:`.generate_label_maps`.
        kwargs: as for :class:`OpenVocabCocoDataset`; ``indices=n`` takes the first n
            images; ``lazy_init=True`` generates nothing before :meth:`full_init`.

    Example:
        >>> dataset = OVShapesDataset(split='val', language='zh')
        >>> dataset.metainfo['base_classes'][0], len(dataset.metainfo['classes'])
        ('红色正方形', 65)
    """

    def __init__(
        self,
        data_root: str = 'data/ovshapes',
        split: str = 'train',
        num_train: int = 2000,
        num_val: int = 300,
        image_size: int = 256,
        seed: int = 0,
        with_seg: bool = False,
        **kwargs,
    ) -> None:
        if split not in SPLITS:
            raise ValueError(f'split must be one of {list(SPLITS)}, got {split!r}')
        self._parameters = data_root, num_train, num_val, image_size, seed
        self.with_seg = with_seg
        folder = ovshapes_folder(*self._parameters)
        prefix = {'img': split}
        if with_seg:
            labels = label_map_folder(*self._parameters)
            prefix['seg'] = os.path.abspath(labels / split)
        if not kwargs.get('lazy_init'):
            self._generate_once()
        super().__init__(
            ann_file=f'{split}.json',
            data_root=str(folder),
            data_prefix=prefix,
            **kwargs,
        )

    def _generate_once(self) -> None:
        """Generate the images in the first process, before the others read them."""
        if get_rank() > 0:
            barrier()
        self._generate()
        if get_rank() == 0:
            barrier()

    def full_init(self) -> None:
        """Generate the images if they do not exist, and load the annotations."""
        if not self._fully_initialized:
            self._generate()
            super().full_init()

    def _generate(self) -> None:
        generate_ovshapes(*self._parameters)
        if self.with_seg:
            generate_label_maps(*self._parameters)
