"""ImageNet: names, both layouts, and ranks against a slow reference."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from PIL import Image

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from fgclip2_det.fgclip2 import FGCLIP2
from fgclip2_det.vocabulary import TEMPLATE_SETS
from fgclip2_det.zeroshot import Embedder
from fgclip2_det.zeroshot.benchmark import ReadOptions
from fgclip2_det.zeroshot.controls import ControlEmbedder, _direction
from fgclip2_det.zeroshot.zeroshot import (
    BENCHMARKS,
    class_prompts,
    embed_prompts,
    read_class_list,
    read_imagenet,
    read_imagenet_v2,
)

WNIDS = ['n01440764', 'n01443537', 'n02102040', 'n03000684', 'n03028079']
NAMES = [['Tench'], ['goldfish'], ['dog', 'hound'], ['chainsaw'], ['church']]
ALL = ReadOptions()


class Answers(ControlEmbedder):
    """Each file has a direction of its own; what was asked is kept."""

    def __init__(self) -> None:
        super().__init__('noise', dims=16)
        self.asked = []

    def texts(self, texts, mode):
        self.asked.append((mode, list(texts)))
        return super().texts(texts, mode)

    def images(self, items, whole=True, regions=True):
        self.asked.append((self.max_num_patches, len(items)))
        return torch.stack([_direction(i.path.name, 16) for i in items]), None


def write_folders(root: Path, folders, per_class: int = 3) -> dict[str, Path]:
    """Image k of class c is number k * C + c, as neighbours are of other classes."""
    for c, name in enumerate(folders):
        (root / name).mkdir(parents=True)
        for k in range(per_class):
            number = k * len(folders) + c + 1
            path = root / name / f'ILSVRC2012_val_{number:08d}.JPEG'
            Image.new('RGB', (40, 24), (40 * c, 80, 20 * k)).save(path, 'JPEG')
    return {'images': root}


def write_flat(root: Path, lines: list[str], files=range(1, 16)) -> dict[str, Path]:
    root.mkdir(parents=True)
    for number in files:
        (root / f'ILSVRC2012_val_{number:08d}.JPEG').touch()
    text = '\n'.join(['ImageId,PredictionString', *lines]) + '\n'
    (root.parent / 'LOC_val_solution.csv').write_text(text)
    return {'images': root}


def solution_lines() -> list[str]:
    """The classes of ``write_folders``, last image first."""
    return [
        f'ILSVRC2012_val_{n:08d},{WNIDS[(n - 1) % 5]} 1 2 30 40 {WNIDS[0]} 1 1 5 5'
        for n in range(15, 0, -1)
    ]


def test_the_list_is_whole():
    """1,000 different names; places that everybody knows."""
    names = [entry[0] for entry in read_class_list('imagenet')]
    wnids = [entry[0] for entry in read_class_list('imagenet_wnids')]
    assert len(names) == len({name.lower() for name in names}) == 1000
    assert len(set(wnids)) == 1000 and wnids == sorted(wnids)
    for label, wnid, name in (
        (0, 'n01440764', 'tench'),
        (65, 'n01751748', 'sea snake'),
        (134, 'n02012849', 'crane bird'),
        (517, 'n03126707', 'construction crane'),
        (657, 'n03773504', 'missile'),
        (744, 'n04008634', 'projectile'),
        (836, 'n04355933', 'sunglass'),
        (837, 'n04356056', 'sunglasses'),
        (999, 'n15075141', 'toilet paper'),
    ):
        assert (wnids[label], names[label]) == (wnid, name)


def test_what_is_published():
    assert BENCHMARKS['imagenet-1k'].expected == {'images': 50_000, 'classes': 1_000}
    assert BENCHMARKS['imagenet-v2'].expected == {'images': 10_000, 'classes': 1_000}
    assert BENCHMARKS['imagenet-v2'].paper == {'top1': (72.2, 77.4, 77.8)}


def test_prompts_and_their_mean():
    prompts = class_prompts(['Border Collie', 'dog'])
    assert len(prompts) == 160 and prompts == [text.lower() for text in prompts]
    assert 'a photo of a border collie.' in prompts and 'itap of my dog.' in prompts
    groups = [['a', 'b'], ['c'], ['b', 'c', 'd']] * 50  # more than are taken at once
    actual = embed_prompts(ControlEmbedder('noise', dims=8), groups, 'short')
    for row, group in zip(actual, groups, strict=True):
        mean = sum(_direction(text, 8) for text in group) / len(group)
        torch.testing.assert_close(row, mean / mean.norm())


def test_ranks_equal_a_slow_reference(tmp_path):
    paths = write_folders(tmp_path / 'val', WNIDS)
    embedder = Answers()
    actual = read_imagenet(paths, ALL, WNIDS, NAMES).run(embedder)
    top1 = top3 = 0
    for number in range(1, 16):
        image = _direction(f'ILSVRC2012_val_{number:08d}.JPEG', 16)
        scores = []
        for aliases in NAMES:
            texts = [t.format(a) for a in aliases for t in TEMPLATE_SETS['imagenet80']]
            mean = torch.stack([_direction(text, 16) for text in texts]).mean(0)
            scores.append(float(F.normalize(mean, dim=0) @ image))
        own = scores[(number - 1) % 5]
        rank = 1 + sum(score > own for score in scores)
        top1, top3 = top1 + (rank == 1), top3 + (rank <= 3)
    assert 0 < top1 < 15
    assert actual.metrics == {'top1': pytest.approx(100 * top1 / 15), 'top5': 100}
    assert actual.denominators == {'top1': 15, 'top5': 15}
    (mode, texts), budget = embedder.asked
    assert mode == 'short' and len(texts) == 480 and texts[0].endswith(' tench.')
    assert budget == (1024, 15) and actual.counts['max_num_patches'] == 1024
    embedder.max_num_patches = 64
    assert read_imagenet(paths, ALL, WNIDS, NAMES).run(embedder).counts == {
        'images': 15, 'classes': 5, 'max_num_patches': 64, 'truncated_texts/short': 0,
    }  # fmt: skip


def test_flat_images_are_the_same(tmp_path):
    folders = write_folders(tmp_path / 'a' / 'val', WNIDS)
    flat = write_flat(tmp_path / 'b' / 'val', solution_lines())
    for num_images in (None, 7):
        options = ReadOptions(num_images=num_images)
        one = read_imagenet(folders, options, WNIDS, NAMES)
        other = read_imagenet(flat, options, WNIDS, NAMES)
        assert one.counts == other.counts == {'images': num_images or 15, 'classes': 5}
        assert one.run(Answers()) == other.run(Answers())
        assert other.run(ControlEmbedder('oracle')).metrics['top1'] == 100


def test_v2_folders_are_numbers(tmp_path):
    """'10' is the eleventh class, not the second."""
    names = [[f'thing {i}'] for i in range(12)]
    paths = write_folders(tmp_path / 'v2', [str(i) for i in range(12)], per_class=20)
    task = read_imagenet_v2(paths, ALL, names)
    assert task.counts == {'images': 240, 'classes': 12}
    assert task.run(ControlEmbedder('oracle')).metrics == {'top1': 100, 'top5': 100}
    noise = task.run(ControlEmbedder('noise')).metrics
    assert 3 < noise['top1'] < 15 and 30 < noise['top5'] < 54  # chance: 8.3 and 41.7


def test_equal_names_are_wrong(tmp_path):
    """A tie counts against the model, even for the oracle."""
    paths = write_folders(tmp_path / 'val', WNIDS[:2])
    task = read_imagenet(paths, ALL, WNIDS[:2], [['dog'], ['DOG']])
    assert task.run(ControlEmbedder('oracle')).metrics == {'top1': 0, 'top5': 100}


def test_a_real_encoder(tmp_path):
    encoder = FGCLIP2.from_size('tiny', generator=torch.Generator().manual_seed(0))
    paths = write_folders(tmp_path / 'val', WNIDS, per_class=1)
    task = read_imagenet(paths, ALL, WNIDS, NAMES)
    actual = task.run(Embedder(encoder.eval(), max_num_patches=16, progress=False))
    assert actual.metrics['top5'] == 100 and actual.counts['max_num_patches'] == 16
    (tmp_path / 'val' / WNIDS[2] / 'ILSVRC2012_val_00000003.JPEG').write_bytes(b'\xff')
    with pytest.raises(ValueError, match=r'00003\.JPEG cannot be read'):
        task.run(Embedder(encoder, max_num_patches=16, progress=False))


def test_bad_folders(tmp_path):
    def fails(match: str) -> None:
        with pytest.raises(ValueError, match=match):
            read_imagenet({'images': root}, ALL, WNIDS, NAMES)

    root = tmp_path / 'val'
    fails('is not a readable folder')
    root.mkdir()
    fails('val is empty; unpack')
    write_folders(root / 'x', WNIDS)
    fails(r'val/x is not the folder of a class; expected n01440764 to n03028079')
    (root / 'x').rename(tmp_path / 'good')
    root = tmp_path / 'good'
    extra = root / WNIDS[1] / 'ILSVRC2012_val_00000001.JPEG'
    extra.touch()
    fails('00001.JPEG is also there as')
    extra.rename(extra.with_name('notes.txt'))
    fails(r'notes\.txt is not an image file')
    (root / WNIDS[1] / 'notes.txt').rename(root / 'notes.txt')
    fails('holds both folders and files such as notes.txt')
    (root / 'notes.txt').unlink()
    (root / WNIDS[4]).rename(tmp_path / 'elsewhere')
    fails('lacks the folders of 1 classes, such as n03028079')
    (root / WNIDS[4]).mkdir()
    fails('n03028079 is empty')
    with pytest.raises(ValueError, match='v2/7 is not the folder of a class'):
        paths = write_folders(tmp_path / 'v2', ['0', '1', '7'], 1)
        read_imagenet_v2(paths, ALL, NAMES[:2])
    with pytest.raises(ValueError, match='num_images must be at least 1'):
        paths = write_folders(tmp_path / 'v3', ['0', '1'], 1)
        read_imagenet_v2(paths, ReadOptions(num_images=0), NAMES[:2])


@pytest.mark.parametrize(
    ('change', 'match'),
    [
        (lambda lines: lines[1:], 'has no line for ILSVRC2012_val_00000015.JPEG'),
        (lambda lines: [*lines, lines[0]], 'line 17: ILSVRC2012_val_00000015 has a'),
        (lambda lines: [*lines, 'x,n9 1'], 'line 17: expected an image .* of the 5'),
        (lambda lines: [*lines, 'x'], "line 17: .* got 'x'"),
        (lambda lines: [*lines, f'x,{WNIDS[0]}'], r'1 of 16 images .*/x\.JPEG'),
    ],
)
def test_bad_solution(tmp_path, change, match):
    paths = write_flat(tmp_path / 'val', change(solution_lines()))
    with pytest.raises(ValueError, match=match):
        read_imagenet(paths, ALL, WNIDS, NAMES)


def test_no_solution(tmp_path):
    paths = write_flat(tmp_path / 'val', [])
    path = tmp_path / 'LOC_val_solution.csv'
    path.write_text('')
    with pytest.raises(ValueError, match=r"ImageId,Pred.*, got 'nothing'"):
        read_imagenet(paths, ALL, WNIDS, NAMES)
    path.unlink()
    with pytest.raises(ValueError, match=r'cannot be read.*need it .*kaggle'):
        read_imagenet(paths, ALL, WNIDS, NAMES)
