"""Benchmarks of detectors: files, how a detector is asked, what a table shows."""

from __future__ import annotations

from dataclasses import dataclass, replace

_COCO = 'https://cocodataset.org/#download'
_LVIS = 'https://www.lvisdataset.org/dataset'
_GLIP = 'https://huggingface.co/GLIPModel/GLIP'
_FGOVD = 'https://github.com/lorebianchi98/FG-OVD'
_D3 = 'https://github.com/shikras/d-cube'
_CC = 'CC BY 4.0'


@dataclass(frozen=True)
class DataFile:
    """A file or folder below the data root.

    Args:
        path: below the root.
        url: page that publishes it.
        size: of the download, as its page says or about; '' where nothing is known.
        license: as its page says.
        instead: another file that it can be made from.
    """

    path: str
    url: str
    size: str
    license: str
    instead: str | None = None


@dataclass(frozen=True)
class Asking:
    """How a detector is asked.

    Args:
        chunk_size: names of a pass.
        max_per_pass: best results of a pass.
        max_per_ask: best results of all passes of a question; None: all.
    """

    chunk_size: int
    max_per_pass: int = 300
    max_per_ask: int | None = None


@dataclass(frozen=True)
class Rescoring:
    """What the paper leaves open, see ``configs/_base_/models/rescore-llmdet.py``.

    Args:
        mode, labels_per_box, merge_iou, nms_iou, max_per_image: of
            :class:`.PredictionRescorer`.
        templates: of the encoder's prompts.
        alpha, temperature: of the geometric mean.
    """

    mode: str = 'joint'
    labels_per_box: int = 3
    merge_iou: float | None = 0.7
    nms_iou: float | None = 0.7
    max_per_image: int | None = 1000
    templates: str = 'imagenet80'
    alpha: float = 0.5
    temperature: float = 0.01


@dataclass(frozen=True)
class Column:
    """A number of a table.

    Args:
        title: above it.
        metric: of ``evaluate_file``.
        part: of the benchmark that it is measured on; '' where there is one.
    """

    title: str
    metric: str
    part: str = ''


@dataclass(frozen=True)
class Benchmark:
    """One benchmark.

    Args:
        name: on the command line.
        title: for tables.
        protocol: of ``evaluate_file``.
        annotations: part -> file or folder; one part is called ''.
        images: folders that file names may start from; the first is published.
        asking, rescoring: defaults of this project.
        tables: title -> numbers in a row.
        num_images: that the published files list; None: not checked.
        num_names: the same of names.
        language: of the names that the encoder reads; detectors read English.
        detections_of: benchmark whose detections are the same; None: its own.
        groups: file with the descriptions of each image; None: all names are asked.
        note: below a table.
    """

    name: str
    title: str
    protocol: str
    annotations: dict[str, DataFile]
    images: tuple[DataFile, ...]
    asking: Asking
    rescoring: Rescoring
    tables: dict[str, tuple[Column, ...]]
    num_images: int | None = None
    num_names: int | None = None
    language: str = 'en'
    detections_of: str | None = None
    groups: DataFile | None = None
    note: str = ''

    @property
    def detections(self) -> str:
        """Name of the benchmark whose detections these are."""
        return self.detections_of or self.name


def _lvis_columns(flavour: str) -> tuple[Column, ...]:
    names = ('AP', 'APr', 'APc', 'APf')
    return tuple(Column(name, f'{flavour}/bbox/{name}') for name in names)


def _images(split: str, size: str) -> DataFile:
    terms = "Flickr's terms, each image its own"
    return DataFile(f'coco/{split}', _COCO, size, terms)


_VAL = _images('val2017', '1 GB, 5,000 images')
_TRAIN = _images('train2017', '18 GB, 118,287 images')
_LVIS_VAL = DataFile('coco/annotations/lvis_v1_val.json', _LVIS, '64 MB as a zip', _CC)
_LVIS_TABLES = {
    'fixed AP: the best 10,000 of a class, no limit an image': _lvis_columns(
        'lvis-fixed'
    ),
    'AP: the best 300 of an image': _lvis_columns('lvis'),
}
_MINIVAL = Benchmark(
    name='lvis-minival',
    title='LVIS minival',
    protocol='lvis-both',
    annotations={
        '': DataFile(
            'coco/annotations/lvis_v1_minival_inserted_image_name.json',
            f'{_GLIP}; or {_LVIS} for lvis_v1_val.json',
            'lvis_v1_val.json is 64 MB as a zip',
            _CC,
            instead=_LVIS_VAL.path,
        )
    },
    images=(_VAL,),
    asking=Asking(chunk_size=40),
    rescoring=Rescoring(),
    tables=_LVIS_TABLES,
    num_images=4_809,
    num_names=1_203,
)
_LEVELS = {
    'hard': 'h_attributes',
    'medium': 'm_attributes',
    'easy': 'e_attributes',
    'trivial': 'shuffle_negatives',
}
_D3_PARTS = ('full', 'pres', 'abs')
_ALL = (
    _MINIVAL,
    replace(
        _MINIVAL,
        name='lvis-minival-zh',
        title='LVIS minival, Chinese names',
        rescoring=Rescoring(templates='raw'),
        language='zh',
        detections_of='lvis-minival',
        note='the encoder reads Chinese names, the detector the English ones',
    ),
    replace(
        _MINIVAL,
        name='lvis-val',
        title='LVIS val',
        annotations={'': _LVIS_VAL},
        images=(_VAL, _TRAIN),
        num_images=19_809,
        note='some 15,000 of its images are in COCO train2017',
    ),
    Benchmark(
        name='coco',
        title='COCO val2017',
        protocol='coco',
        annotations={
            '': DataFile(
                'coco/annotations/instances_val2017.json', _COCO, '241 MB as a zip', _CC
            )
        },
        images=(_VAL,),
        asking=Asking(chunk_size=80),
        rescoring=Rescoring(labels_per_box=1, max_per_image=300),
        tables={
            'AP': tuple(
                Column(name, f'coco/bbox/{name}') for name in ('AP', 'AP50', 'AP75')
            )
        },
        num_images=5_000,
        num_names=80,
    ),
    Benchmark(
        name='fg-ovd',
        title='FG-OVD, a true caption and ten others',
        protocol='fg-ovd',
        annotations={
            level: DataFile(f'fgovd/{stem}_llava.jsonl', _FGOVD, '', 'see its page')
            for level, stem in _LEVELS.items()
        },
        images=(_VAL,),
        asking=Asking(chunk_size=1, max_per_ask=300),
        rescoring=Rescoring(labels_per_box=1, max_per_image=300, templates='raw'),
        tables={
            'mAP': tuple(Column(level, 'fgovd/AP', level) for level in _LEVELS),
        },
        note='each caption is a pass of its own',
    ),
    Benchmark(
        name='d3',
        title='D3, descriptions of the scene of each image',
        protocol='d3',
        annotations={'': DataFile('d3/d3_json', _D3, '', 'see its page')},
        images=(DataFile('d3/d3_images', _D3, '10,578 images', 'see its page'),),
        asking=Asking(chunk_size=1, max_per_pass=100),
        rescoring=Rescoring(
            mode='keep',
            merge_iou=None,
            nms_iou=None,
            max_per_image=None,
            templates='raw',
        ),
        tables={
            'mAP': tuple(Column(part, f'd3/{part}/AP') for part in _D3_PARTS),
        },
        num_images=10_578,
        num_names=422,
        groups=DataFile(
            'd3/d3_json/groups.json',
            _D3,
            'made with its package, see docs/reproduce.md',
            'see its page',
        ),
        note='each description is a pass of its own',
    ),
)
BENCHMARKS: dict[str, Benchmark] = {one.name: one for one in _ALL}
