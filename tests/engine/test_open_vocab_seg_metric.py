"""mIoU over base and novel names against a loop over pixels."""

import pytest
import torch

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from fgclip2_det.engine.metrics import OpenVocabSegMetric
from fgclip2_det.evaluation.label_maps import count_pixels, segmentation_rates
from fgclip2_det.zeroshot import Report
from fgclip2_det.zeroshot.confusion import add_segmentation

META = dict(classes=('a', 'b', 'c', 'd'), base_classes=('a', 'b'),
            novel_classes=('c', 'd'))  # fmt: skip


def samples(count: int = 3, numbers=(0, 1, 2, 254, 255)) -> list[dict]:
    """Class d occurs in no image, but is predicted."""
    random = torch.Generator().manual_seed(0)
    made = []
    for i in range(count):
        size = (1, 5 + i, 7)
        numbers_ = torch.tensor(numbers)
        index = torch.randint(0, len(numbers), size, generator=random)
        made.append(
            dict(
                img_path=f'{i}.jpg',
                gt_sem_seg=dict(sem_seg=numbers_[index].to(torch.uint8)),
                pred_sem_seg=dict(
                    sem_seg=torch.randint(0, 4, size, generator=random),
                    scores=torch.rand(size, generator=random),
                ),
            )
        )
    return made


def slow_miou(data: list[dict], classes, background: bool = False) -> float:
    shares = []
    for c in classes:
        both = either = present = 0
        for sample in data:
            truths = sample['gt_sem_seg']['sem_seg'].flatten().tolist()
            found = sample['pred_sem_seg']['sem_seg'].flatten().tolist()
            scores = sample['pred_sem_seg']['scores'].flatten().tolist()
            for truth, name, score in zip(truths, found, scores, strict=True):
                if truth == 255 or (truth == 254 and not background):
                    continue
                truth = 4 if truth == 254 else truth
                name = 4 if background and score < 0.5 else name
                present += truth == c
                both += truth == c and name == c
                either += truth == c or name == c
        if present:
            shares.append(both / either)
    return sum(shares) / len(shares)


def evaluate(data: list[dict], **options) -> dict:
    metric = OpenVocabSegMetric(background_label=254, **options)
    metric.dataset_meta = META
    for sample in data:
        metric.process({}, [sample])
    return metric.evaluate(len(data))


def test_rates_equal_a_slow_loop():
    data = samples()
    got = evaluate(data, classwise=True)
    names = {name.removeprefix('open_vocab_seg/'): value for name, value in got.items()}
    assert names['base_miou'] == pytest.approx(slow_miou(data, [0, 1]))
    assert names['novel_miou'] == pytest.approx(slow_miou(data, [2, 3]))
    assert names['all_miou'] == pytest.approx(slow_miou(data, range(4)))
    expected = slow_miou(data, range(5), background=True)
    assert names['background_miou'] == pytest.approx(expected)


def test_rates_are_those_of_the_zero_shot_benchmarks():
    data, counts = samples(), torch.zeros(4, 4, dtype=torch.long)
    for sample in data:
        raw = sample['gt_sem_seg']['sem_seg'][0].long()
        labels = raw.masked_fill(raw >= 254, -1)
        counts += count_pixels(sample['pred_sem_seg']['sem_seg'][0], labels, 4)
    report = Report()
    add_segmentation(report, counts)
    got = evaluate(data)
    assert 100 * got['open_vocab_seg/all_miou'] == report.metrics['miou']
    accuracy = 100 * got['open_vocab_seg/pixel_accuracy']
    assert accuracy == report.metrics['pixel_accuracy']


def test_hand_computation():
    """a: 2 of 3 pixels right, none taken from others; b: 1 right, 1 taken from a."""
    rates = segmentation_rates(torch.tensor([[2, 1], [0, 1]]))
    assert rates.miou == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert rates.mean_accuracy == pytest.approx((2 / 3 + 1) / 2)
    assert rates.pixel_accuracy == 3 / 4
    assert segmentation_rates(torch.tensor([[2, 1], [0, 1]]), [1]).miou == 1 / 2


def test_a_repeated_image_counts_once_and_a_group_may_be_absent():
    data = samples(2, numbers=(0, 1))
    once, twice = evaluate(data), evaluate([*data, data[0]])
    assert once == twice
    assert 'open_vocab_seg/novel_miou' not in once


def test_bad_label_maps():
    data = samples(1)
    data[0]['gt_sem_seg']['sem_seg'][0, 0, 0] = 77
    with pytest.raises(ValueError, match=r'image 0\.jpg holds 77; expected 0 to 3, or'):
        evaluate(data)
    del data[0]['gt_sem_seg']
    with pytest.raises(ValueError, match=r'image 0\.jpg has no label map; put LoadAnn'):
        evaluate(data)
    data = samples(1)
    data[0]['pred_sem_seg']['sem_seg'] = torch.zeros(1, 2, 2, dtype=torch.long)
    with pytest.raises(ValueError, match=r'map of \(2, 2\) pixels was predicted for'):
        evaluate(data)
