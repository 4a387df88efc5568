"""Caption files become records that training reads."""

import pytest

from fgclip2_det.zeroshot.caption_files import read_flickr30k_cna
from pretrain.data import AlignmentCollate, AlignmentDataset
from pretrain.data.from_captions import captions_to_records, write_caption_records

from .conftest import save_image


def test_captions_of_flickr30k_cna(tmp_path):
    """Five lines, two images: pairs of the same image have the same key."""
    lines = [f'{7 + k // 3}#{k % 3}\t第{k}句' for k in range(5)]
    source = tmp_path / 'train.txt'
    source.write_text('\n'.join(lines), encoding='utf-8')
    out = tmp_path / 'jsonfiles' / 'train.jsonl'
    assert write_caption_records(read_flickr30k_cna(source), 'zh', out) == 5
    for number in (7, 8):
        save_image(tmp_path / 'images' / f'{number}.jpg', number)
    data = AlignmentDataset(out.parent, tmp_path / 'images', max_anns=0)
    assert data.languages.tolist() == ['zh'] * 5
    samples = [data[number][0] for number in range(5)]
    assert [sample.short for sample in samples] == [f'第{k}句' for k in range(5)]
    assert {sample.long for sample in samples} == {None}
    first, *_, last = keys = AlignmentCollate()(samples).image_keys.tolist()
    assert keys == [first] * 3 + [last] * 2 and first != last


def test_long_english_captions():
    records = list(captions_to_records({'a.jpg': ['One.', 'Two.']}, 'en', 'caption'))
    assert records == [
        {'f_path': 'a.jpg', 'caption': 'One.'},
        {'f_path': 'a.jpg', 'caption': 'Two.'},
    ]


def test_bad_input(tmp_path):
    for arguments, message in (
        (({'a.jpg': ['x']}, 'de'), 'language must be one of'),
        (({'a.jpg': ['x']}, 'en', 'text'), "key must be 'short_caption'"),
        (({'../a.jpg': ['x']}, 'en'), 'leads outside'),
    ):
        with pytest.raises(ValueError, match=message):
            list(captions_to_records(*arguments))
    with pytest.raises(ValueError, match='there is no caption'):
        write_caption_records({}, 'en', tmp_path / 'x.jsonl')
