"""Retrieval benchmarks, English and Chinese, short and long."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from .benchmark import Benchmark, DataFile, ReadOptions, Task
from .caption_files import (
    Captions,
    read_captions,
    read_coco_captions,
    read_coco_cn,
    read_dci,
    read_flickr30k_cna,
    read_karpathy,
    read_sharegpt4v,
)
from .caption_pairs import RANKED
from .embedder import Embedder
from .images import ImageItem, check_images_exist, take_first
from .report import Report
from .retrieval import measure_retrieval

_EN = 'FG-CLIP 2 (arXiv:2510.10921), Table 4'
_ZH = 'FG-CLIP 2 (arXiv:2510.10921), Table 5'
_COCO = 'https://cocodataset.org/#download'
_FLICKR = 'https://shannon.cs.illinois.edu/DenotationGraph/'
_KARPATHY = 'https://cs.stanford.edu/people/karpathy/deepimagesent/'
_CCMB = 'https://github.com/yuxie11/R2D2'
_HUB = 'https://huggingface.co/datasets/qihoo360'


def read_retrieval(
    files: Mapping[str, Path],
    options: ReadOptions,
    reader: Callable[[Path], Captions],
    mode: str,
    k: int,
) -> Task:
    """Task of the files 'captions' and 'images'.

    Args:
        files, options: of a benchmark.
        reader: of the captions.
        mode: of the texts.
        k: candidates that are ranked where there is a ranker and the options say
            nothing.
    """
    captions = reader(files['captions'])
    chosen = take_first(list(captions), options.num_images)
    root = files['images']
    items = [ImageItem(root / name, captions=captions[name]) for name in chosen]
    check_images_exist(items, root)
    counts = {
        'images': len(items),
        'captions': sum(len(item.captions) for item in items),
    }

    def run(embedder: Embedder) -> Report:
        report = Report(counts=dict(counts))
        scorer, num_ranked = embedder.pair_scorer, options.ranker_k or k
        measure_retrieval(report, embedder, items, mode, scorer, num_ranked)
        return report

    source = files['captions']
    read = {'captions': sorted(source.glob('*.json'))} if source.is_dir() else {}
    return Task(counts, run, folders=read)


def _retrieval(
    name: str,
    title: str,
    captions: DataFile,
    images: DataFile,
    reader: Callable[[Path], Captions],
    mode: str,
    expected: Mapping[str, int],
    source: str,
    i2t: tuple[float, ...],
    t2i: tuple[float, ...],
) -> Benchmark:
    return Benchmark(
        name=name,
        title=f'{title}, {mode} captions',
        files={'captions': captions, 'images': images},
        expected=expected,
        read=partial(read_retrieval, reader=reader, mode=mode, k=RANKED),
        source=source,
        paper={f'retrieval/{mode}/i2t': i2t, f'retrieval/{mode}/t2i': t2i},
        takes_ranker=True,
        ranker_k=RANKED,
    )


def _of_hub(
    name: str, expected: Mapping[str, int], i2t: tuple, t2i: tuple
) -> Benchmark:
    """One of the sets that the authors of FG-CLIP 2 published."""
    url, folder = f'{_HUB}/{name}', name.lower().replace('-', '_')
    return _retrieval(
        name.lower(),
        name,
        DataFile(f'{folder}/captions.txt', url),
        DataFile(f'{folder}/images', url),
        read_captions,
        'long',
        expected,
        _ZH,
        i2t,
        t2i,
    )


_FIVE = {'images': 1_000, 'captions': 5_000}
_ALL = (
    _retrieval(
        'coco-retrieval',
        'COCO val2017',
        DataFile('coco/annotations/captions_val2017.json', _COCO),
        DataFile('coco/val2017', _COCO),
        read_coco_captions,
        'short',
        {'images': 5_000, 'captions': 25_000},
        _EN,
        (72.1, 75.1, 74.6),
        (54.5, 58.6, 56.7),
    ),
    _retrieval(
        'flickr30k-retrieval',
        "Flickr30k, Karpathy's test split",
        DataFile('flickr30k/dataset_flickr30k.json', _KARPATHY),
        DataFile('flickr30k/flickr30k-images', _FLICKR),
        read_karpathy,
        'short',
        _FIVE,
        _EN,
        (94.1, 96.6, 95.9),
        (81.9, 84.8, 85.0),
    ),
    _retrieval(
        'dci-retrieval',
        'Densely Captioned Images',
        DataFile('dci/annotations', 'https://github.com/facebookresearch/DCI'),
        DataFile('dci/photos', 'https://ai.meta.com/datasets/segment-anything/'),
        read_dci,
        'long',
        {},
        _EN,
        (64.5, 70.0, 70.6),
        (64.9, 71.6, 72.1),
    ),
    _retrieval(
        'sharegpt4v-retrieval',
        'ShareGPT4V, the first 1,000',
        DataFile(
            'sharegpt4v/share-captioner_coco_lcs_sam_1246k_1107.json',
            'https://huggingface.co/datasets/Lin-Chen/ShareGPT4V',
        ),
        DataFile('sharegpt4v/images', 'https://ai.meta.com/datasets/segment-anything/'),
        read_sharegpt4v,
        'long',
        {'images': 1_000},
        _EN,
        (95.8, 96.9, 97.5),
        (95.4, 96.6, 96.7),
    ),
    _of_hub('LIT-CN', {'captions': 33_010}, (82.4, 86.3, 87.6), (81.1, 85.9, 86.3)),
    _of_hub('DCI-CN', {}, (53.9, 60.4, 62.7), (55.7, 62.2, 65.1)),
    _of_hub('DOCCI-CN', {}, (71.2, 77.6, 79.7), (75.4, 81.9, 84.0)),
    _retrieval(
        'flickr30k-cna',
        'Flickr30k-CNA test',
        DataFile('flickr30k_cna/flickr30k_cna_test.txt', _CCMB),
        DataFile('flickr30k/flickr30k-images', _FLICKR),
        read_flickr30k_cna,
        'short',
        _FIVE,
        _ZH,
        (85.4, 90.3, 91.5),
        (69.9, 75.0, 77.2),
    ),
    _retrieval(
        'coco-cn',
        'COCO-CN test',
        DataFile('coco_cn/pair.txt', 'https://github.com/li-xirong/coco-cn'),
        DataFile('coco', _COCO),
        read_coco_cn,
        'short',
        _FIVE,
        _ZH,
        (77.2, 82.8, 83.2),
        (62.9, 66.5, 68.1),
    ),
)
BENCHMARKS: dict[str, Benchmark] = {one.name: one for one in _ALL}
