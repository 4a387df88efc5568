"""Wrong paths of a config are found before a run, whichever part names them."""

import json

import pytest
from mmengine.config import Config

from fgclip2_det.engine.data_files import check_data_files, data_files


@pytest.fixture
def root(tmp_path):
    """Two files of two images each, with a polygon an annotation."""
    for split in ('train', 'val'):
        (tmp_path / split / 'sub').mkdir(parents=True)
        names = ['a.png', 'sub/b.png']
        for name in names:
            (tmp_path / split / name).write_bytes(b'')
        coco = {
            'images': [
                {'id': i, 'file_name': name, 'width': 50, 'height': 40}
                for i, name in enumerate(names)
            ],
            'annotations': [
                {'id': 7, 'image_id': 1, 'category_id': 1, 'bbox': [0, 0, 9, 9],
                 'segmentation': [[0, 0, 9, 0, 9, 9]]},
            ],
            'categories': [{'id': 1, 'name': 'cat'}],
        }  # fmt: skip
        (tmp_path / f'{split}.json').write_text(json.dumps(coco))
    return tmp_path


def config(root, **changes) -> Config:
    def dataset(split):
        return dict(type='CocoDataset', data_root=str(root), ann_file=f'{split}.json',
                    data_prefix=dict(img=split), pipeline=[])  # fmt: skip

    parts = dict(
        train_dataloader=dict(
            dataset=dict(type='ConcatDataset', datasets=[dataset('train')])
        ),
        val_dataloader=dict(dataset=dataset('val')),
        val_evaluator=[dict(type='CocoMetric', ann_file=str(root / 'val.json'))],
        test_dataloader=dict(dataset=dict(ann_file='nowhere.json')),
    )
    cfg = Config(parts)
    cfg.merge_from_dict(changes)
    return cfg


def change(path, edit):
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def test_a_config_in_order(root):
    assert check_data_files(config(root)) == []
    parts = [file.part for file in data_files(config(root))]
    assert parts == ['train_dataloader', 'val_dataloader', 'val_evaluator']


@pytest.mark.parametrize(
    ('option', 'value', 'message'),
    [
        ('train_dataloader.dataset.datasets.0.ann_file', 'no.json',
         r'train_dataloader: there is no annotation file .*no\.json'),
        ('val_dataloader.dataset.ann_file', 'no.json',
         r'val_dataloader: there is no annotation file .*no\.json'),
        ('val_evaluator.0.ann_file', 'no.json',
         r'val_evaluator: there is no .*no\.json'),
        ('val_dataloader.dataset.data_prefix.img', 'images',
         r'val_dataloader: 2 of 2 images of .*val\.json are .*: .*images/a\.png'),
    ],
)  # fmt: skip
def test_wrong_paths_name_the_part(root, option, value, message):
    with pytest.raises(ValueError, match=message):
        check_data_files(config(root, **{option: value}))


def test_some_missing_images(root):
    (root / 'train' / 'sub' / 'b.png').unlink()
    with pytest.raises(ValueError, match=r'1 of 2 images .* missing: .*sub/b\.png;'):
        check_data_files(config(root))
    skip = {'train_dataloader.dataset.datasets.0.on_bad_image': 'skip'}
    [note] = check_data_files(config(root, **skip))
    assert '1 of 2 images' in note and note.endswith('skipped (on_bad_image)')
    (root / 'train' / 'a.png').unlink()
    with pytest.raises(ValueError, match='2 of 2 images'):
        check_data_files(config(root, **skip))


@pytest.mark.parametrize('codec', ['utf-8-sig', 'utf-16', 'gbk'])
def test_other_encodings(root, codec):
    def rename(content):
        content['images'][0]['file_name'] = '猫狗.png'

    change(root / 'val.json', rename)
    text = json.dumps(json.loads((root / 'val.json').read_text()), ensure_ascii=False)
    (root / 'val.json').write_bytes(text.encode(codec))
    with pytest.raises(ValueError, match=r'1 of 2 images .* missing: .*猫狗\.png'):
        check_data_files(config(root))
    (root / 'val' / '猫狗.png').write_bytes(b'')
    assert check_data_files(config(root)) == []


def test_a_file_that_is_cut_off(root):
    text = (root / 'val.json').read_text()
    (root / 'val.json').write_text(text[:-20])
    with pytest.raises(
        ValueError, match=r'val_dataloader: .*val\.json is not a complete'
    ):
        check_data_files(config(root))


def test_masks_are_checked_where_pycocotools_gets_them(root):
    """Plain CocoDataset and CocoMetric check nothing by themselves."""

    def break_mask(content):
        content['annotations'][0]['segmentation'] = [[0, 0, 9, 0, 9]]

    change(root / 'val.json', break_mask)
    assert check_data_files(config(root)) == []
    message = r'val_dataloader: .*val\.json: annotation 7: polygon 0 .* 5 numbers'
    for options in (
        {'val_evaluator.0.metric': ['bbox', 'segm']},
        {'val_dataloader.dataset.pipeline': [dict(type='LoadAnnotations',
                                                  with_mask=True)]},
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            check_data_files(config(root, **options))
    (root / 'val.json').write_text(json.dumps({
        key: json.loads((root / 'val.json').read_text())[key]
        for key in ('annotations', 'images', 'categories')}))  # fmt: skip
    with pytest.raises(ValueError, match=message):
        check_data_files(config(root, **{'val_evaluator.0.metric': 'segm'}))


def test_what_is_not_looked_at(root):
    remote = {'val_dataloader.dataset.backend_args': dict(backend='petrel'),
              'val_dataloader.dataset.ann_file': 's3.json',
              'val_evaluator.0.ann_file': 'https://host/val.json'}  # fmt: skip
    assert check_data_files(config(root, **remote)) == []
    (root / 'list.json').write_text('[{"filename": "a.png"}]')
    other = {'val_dataloader.dataset.ann_file': 'list.json'}
    assert check_data_files(config(root, **other)) == []
    made = dict(type='OVShapesDataset', data_root='nowhere', split='val')
    cfg = config(root)
    cfg.val_dataloader = dict(dataset=made)
    cfg.val_evaluator = dict(type='OpenVocabCocoMetric')
    assert check_data_files(cfg) == []
    assert check_data_files(Config(dict(train_dataloader=None))) == []
