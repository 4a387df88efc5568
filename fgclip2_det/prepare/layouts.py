"""Layouts of data sets below a data root, and their sizes.

Paths and names are those of MMDetection and of this project's README. Sizes are those
that the data sets' own pages or papers give; None where they give none.
"""

from dataclasses import dataclass

from fgclip2_det.coco.odinw_sets import ODINW_SETS

_COCO = 'https://cocodataset.org/#download'
_LVIS = 'https://www.lvisdataset.org/dataset'
_O365 = 'https://www.objects365.org'
_VOC = 'http://host.robots.ox.ac.uk/pascal/VOC/'
_MDETR = 'https://huggingface.co/GLIPModel/GLIP (mdetr_annotations)'
_ODINW = 'https://huggingface.co/GLIPModel/GLIP (odinw_35)'


@dataclass(frozen=True)
class Layout:
    """One annotation file and its images.

    Args:
        annotations: path below the root. A .json file is COCO or LVIS; .jsonl holds one
            box per line with its ``img_path``; .txt is an image set of VOC.
        images: folders below the root that may hold the images.
        url: page that publishes it, or the command that makes it.
        num_images, num_classes: entries of the file; lines of a .jsonl or .txt file.
    """

    annotations: str
    images: tuple[str, ...]
    url: str
    num_images: int | None = None
    num_classes: int | None = None


def _coco(name: str, *args: int | None, images: str = '', url: str = _COCO) -> Layout:
    folders = (f'coco/{images}', 'coco') if images else ('coco',)
    return Layout(f'coco/annotations/{name}.json', folders, url, *args)


def _ref(name: str) -> Layout:
    path = f'coco/mdetr_annotations/finetune_{name}.json'
    return Layout(path, ('coco/train2014',), _MDETR)


def _voc(year: int, split: str, num_images: int) -> Layout:
    folder = f'VOCdevkit/VOC{year}'
    path = f'{folder}/ImageSets/Main/{split}.txt'
    return Layout(path, (f'{folder}/JPEGImages',), _VOC, num_images)


def _fgovd(name: str, num_boxes: int) -> Layout:
    url = 'https://github.com/lorebianchi98/FG-OVD'
    return Layout(f'fgovd/{name}_llava.jsonl', ('coco', 'fgovd'), url, num_boxes)


def _flickr(split: str) -> Layout:
    folder = 'flickr30k_entities'
    path = f'{folder}/final_flickr_separateGT_{split}.json'
    return Layout(path, (f'{folder}/flickr30k_images',), _MDETR)


_MADE = 'made by tools/prepare_data.py'
LAYOUTS: dict[str, Layout] = {
    'COCO train2017': _coco('instances_train2017', 118_287, 80, images='train2017'),
    'COCO val2017': _coco('instances_val2017', 5_000, 80, images='val2017'),
    'OV-COCO train': _coco(
        'instances_train2017_seen_2', 107_761, 48, images='train2017', url=_MADE
    ),
    'OV-COCO val': _coco(
        'instances_val2017_all_2', 4_836, 65, images='val2017', url=_MADE
    ),
    'LVIS v1 train': _coco('lvis_v1_train', 100_170, 1_203, url=_LVIS),
    'LVIS v1 train, base': _coco('lvis_v1_train_norare', 100_170, 1_203, url=_MADE),
    'LVIS v1 val': _coco('lvis_v1_val', 19_809, 1_203, url=_LVIS),
    'LVIS minival': _coco(
        'lvis_v1_minival_inserted_image_name',
        4_809, 1_203, images='val2017', url=_MADE,
    ),
    'Objects365 v1 train': Layout(
        'objects365v1/objects365_train.json',
        ('objects365v1/train',), _O365, 608_606, 365,
    ),
    'Objects365 v1 val': Layout(
        'objects365v1/objects365_val.json', ('objects365v1/val',), _O365, 30_000, 365
    ),
    'Objects365 v2 train': Layout(
        'objects365v2/annotations/zhiyuan_objv2_train.json',
        ('objects365v2/train',), _O365, 1_742_289, 365,
    ),
    'Objects365 v2 val': Layout(
        'objects365v2/annotations/zhiyuan_objv2_val.json',
        ('objects365v2/val',), _O365, 80_000, 365,
    ),
    'VOC2007 trainval': _voc(2007, 'trainval', 5_011),
    'VOC2007 test': _voc(2007, 'test', 4_952),
    'VOC2012 trainval': _voc(2012, 'trainval', 11_540),
    'Flickr30k entities train': _flickr('train'),
    'Flickr30k entities val': _flickr('val'),
    'Flickr30k entities test': _flickr('test'),
    'FG-OVD hard': _fgovd('h_attributes', 3_545),
    'FG-OVD medium': _fgovd('m_attributes', 2_968),
    'FG-OVD easy': _fgovd('e_attributes', 1_299),
    'FG-OVD trivial': _fgovd('shuffle_negatives', 3_545),
    'RefCOCO val': _ref('refcoco_val'),
    'RefCOCO testA': _ref('refcoco_testA'),
    'RefCOCO testB': _ref('refcoco_testB'),
    'RefCOCO+ val': _ref('refcoco+_val'),
    'RefCOCO+ testA': _ref('refcoco+_testA'),
    'RefCOCO+ testB': _ref('refcoco+_testB'),
    'RefCOCOg val': _ref('refcocog_val'),
    'RefCOCOg test': _ref('refcocog_test'),
    **{
        f'ODinW {one.name}': Layout(
            f'odinw/{one.ann_file}', (f'odinw/{one.image_root}',), _ODINW
        )
        for one in ODINW_SETS.values()
    },
}  # fmt: skip
