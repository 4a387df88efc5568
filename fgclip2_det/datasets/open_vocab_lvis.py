"""LVIS v1 data set with frequent and common classes as base, rare ones as novel."""

from fgclip2_det.compat import mm  # before mmdet

# isort: split
from mmdet.registry import DATASETS

from .open_vocab_coco import OpenVocabCocoDataset

_SPLITS = {'f': 'base', 'c': 'base', 'r': 'novel'}
_LISTS = {
    'neg_labels': 'neg_category_ids',
    'not_exhaustive_labels': 'not_exhaustive_category_ids',
}


@DATASETS.register_module()
class OpenVocabLVISDataset(OpenVocabCocoDataset):
    """LVIS v1 annotation files with federated annotations.

    The split follows each category's ``frequency`` (866 base, 337 novel classes), or
    its ``split`` if all have one. Underscores in names are replaced by spaces. Every
    image has ``neg_labels`` and ``not_exhaustive_labels``, the labels of its lists of
    category ids. ``metainfo['image_counts']`` is the number of images of each class in
    the file.

    Args:
        args, kwargs: as for ``OpenVocabCocoDataset``. ``data_prefix`` is the folder
            that contains ``train2017`` and ``val2017``.

    Raises:
        ValueError: as in ``OpenVocabCocoDataset``; also for a category without
            frequency or split, and for an image whose lists are not lists of the file's
            category ids.

    Reference: Gupta et al. (arXiv:1908.03195); OV-LVIS as in ViLD (arXiv:2104.13921).

    Example:
        >>> dataset = OpenVocabLVISDataset(
        ...     ann_file='annotations/lvis_v1_train.json',
        ...     data_root='data/coco',
        ...     only_base=True,
        ...     pipeline=[])
        >>> len(dataset.metainfo['base_classes'])
        866
    """

    def _set_classes(self, categories: list[dict]) -> None:
        lists = self.base_classes, self.novel_classes
        asked = self.class_split or any(names is not None for names in lists)
        if not asked and not all('split' in category for category in categories):
            for category in categories:
                if category.get('frequency') not in tuple(_SPLITS):
                    raise ValueError(
                        f'{self.ann_file}: category {category["id"]} '
                        f'({category["name"]!r}) needs a frequency of f, c or r, got '
                        f'{category.get("frequency")!r}; give a file of LVIS v1'
                    )
                category['split'] = _SPLITS[category['frequency']]
        for category in categories:
            category['name'] = category['name'].replace('_', ' ')
        super()._set_classes(categories)
        self._ids = {category['id'] for category in categories}
        counts = {c['id']: c.get('image_count', 0) for c in categories}
        self._metainfo['image_counts'] = tuple(
            counts.get(category_id, 0) for category_id in self._metainfo['category_ids']
        )

    def parse_data_info(self, raw_data_info: dict) -> dict:
        """One image's entry, with its two lists as labels."""
        data_info = super().parse_data_info(raw_data_info)
        for name, key in _LISTS.items():
            data_info[name] = self._labels(raw_data_info['raw_img_info'], key)
        return data_info

    def _labels(self, image: dict, key: str) -> list[int]:
        ids = image.get(key)
        if not isinstance(ids, list) or not all(
            isinstance(i, int | str) and i in self._ids for i in ids
        ):
            raise ValueError(
                f'{self.ann_file}: image {image["img_id"]} needs {key}, a list of '
                f"the file's category ids, got {ids!s:.60}; give a file of LVIS v1"
            )
        return sorted(self.cat2label[i] for i in ids if i in self.cat2label)
