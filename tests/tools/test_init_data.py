"""``init-data``: the table, the files and the exit status, and configs that train."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

import fgclip2_det.registration  # isort: skip
from mmengine.config import Config
from mmengine.registry import init_default_scope

from fgclip2_det.engine.own_data import (
    DETECTORS,
    SIZES,
    TRAINED,
    OwnOptions,
    own_config,
    plan_files,
    swap_config,
    write_files,
)
from fgclip2_det.engine.own_data.advice import ROWS, START, Measured, advice
from fgclip2_det.io import InputError
from fgclip2_det.prepare.own_data import choose_novel, look, split_names

ROOT = Path(__file__).resolve().parents[2]
EXPORTS = ROOT / 'tests' / 'data' / 'exports'
COCO, LABELME = EXPORTS / 'supervision-0.31.2/coco', EXPORTS / 'labelme-6.3.1'
ALONE = [
    f'{part}_dataloader.{key}'
    for part in ('train', 'val')
    for key in ('num_workers=0', 'persistent_workers=False')
]


def test_the_table_the_files_and_the_status(run_tool, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ['--size', 'tiny', '--novel', 'auto', '--json', 'report.json']
    code, out, err = run_tool('init_data', COCO, *words)
    assert code == 0, err
    assert f'{COCO}: COCO, 3 classes' in out and 'classes that no box has' in out
    assert 'annotations.json: image 2' in out and f'{COCO}/annotations' not in out
    report = json.loads(Path('report.json').read_text('utf-8'))
    assert report['layout'] == 'COCO' and report['splits']['train']['images'] == 2
    assert report['classes']['red cup'] == {'train': 2, 'val': 1}
    assert report['novel'] and f'novel: {report["novel"][0]} (' in out
    assert sorted(p.name for p in Path('coco_det').iterdir()) == [
        'config.py', 'train.json', 'val.json',
    ]  # fmt: skip
    before = {p: p.read_bytes() for p in Path('coco_det').iterdir()}
    code, _, err = run_tool('init_data', COCO, '--size', 'b16')
    assert code == 2 and 'config.py is there already; --overwrite' in err
    assert {p: p.read_bytes() for p in Path('coco_det').iterdir()} == before
    code, _, err = run_tool('init_data', COCO, '--size', 'b16', '--overwrite')
    assert code == 0 and 'fgclip2-det_b16' in Path('coco_det/config.py').read_text()


def test_wrong_labels_are_status_1_and_check_writes_nothing(run_tool, tmp_path):
    code, out, _ = run_tool(
        'init_data', EXPORTS / 'datumaro-1.13.12/coco_instances', '--check',
        '--out', tmp_path / 'own',
    )  # fmt: skip
    assert code == 1 and 'wrong       2  boxes with the id of another' in out
    assert not (tmp_path / 'own').exists() and 'config' not in out


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['--detector', 'yolo'], '--detector must be one of atss'),
        (['--detector', 'dino', '--lora'], 'is closed-set: leave --novel'),
        (['--detector', 'mask-rcnn'], 'not every box of the data has one'),
        (['--images', 'nowhere'], 'there is no folder nowhere of images'),
        (['--novel', 'red cap'], "did you mean 'red cup'"),
        (['--configs', 'nowhere'], 'run it in a checkout'),
    ],
)
def test_what_is_refused(run_tool, tmp_path, words, message):
    out = tmp_path / 'own'
    code, _, err = run_tool('init_data', COCO, '--out', out, *words)
    assert code == 2 and message in err and err.count('\n') == 1
    assert not out.exists()


def options(**given) -> OwnOptions:
    return OwnOptions(ROOT / 'configs', **given)


def load(text: str, folder: Path) -> Config:
    init_default_scope('mmdet')
    path = folder / 'config.py'
    path.write_text(text, encoding='utf-8')
    return Config.fromfile(path)


@pytest.mark.parametrize('train', TRAINED)
@pytest.mark.parametrize('size', SIZES)
def test_configs_of_our_detector(tmp_path, size, train):
    own = look(COCO)
    own.novel = choose_novel(own.data, ['黑猫'])
    files = plan_files(own, tmp_path)
    cfg = load(own_config(files, own.novel, options(size=size, train=train)), tmp_path)
    data, backbone = cfg.train_dataloader.dataset, cfg.model.backbone
    assert data.type == 'OpenVocabCocoDataset' and data.novel_classes == ['黑猫']
    assert data.only_base and data.class_split is None
    assert cfg.test_dataloader.dataset == cfg.val_dataloader.dataset
    assert cfg.val_evaluator.ann_file == cfg.test_evaluator.ann_file
    assert Path(cfg.val_evaluator.ann_file) == tmp_path / 'val.json'
    assert ('lora' in backbone) == (train == 'lora')
    assert (backbone.frozen_stages == -1) == (train == 'lora')
    assert cfg.model.neck.in_channels == SIZES[size]
    hooks = [hook.type for hook in cfg.custom_hooks]
    assert hooks.count('ZeroShotRetentionHook') == (train == 'lora')
    assert 'OpenVocabVocabularyHook' in hooks
    assert cfg.param_scheduler[1].T_max == cfg.train_cfg.max_epochs == 100


PARTS = {'red cup': ['red', 'cup'], '黑猫': ['黑', '猫']}


@pytest.mark.parametrize('train', TRAINED)
@pytest.mark.parametrize('size', SIZES)
def test_configs_of_names_made_of_parts(tmp_path, size, train):
    files = plan_files(look(COCO), tmp_path)
    given = options(size=size, train=train, parts=PARTS)
    cfg = load(own_config(files, [], given), tmp_path)
    plain = load(own_config(files, [], options(size=size, train=train)), tmp_path)
    before = [step.type for step in plain.train_dataloader.dataset.pipeline]
    steps = [step.type for step in cfg.train_dataloader.dataset.pipeline]
    assert before[:2] == ['OpenVocabLoadImage', 'LoadAnnotations']
    assert before[-1] == 'PackDetInputs'
    assert steps == [
        *before[:2], 'RecolorObjects', *before[2:-1], 'PackOpenVocabInputs'
    ]  # fmt: skip
    assert cfg.train_dataloader.dataset.only_base
    assert cfg.train_dataloader.batch_size == plain.train_dataloader.batch_size
    assert cfg.model.parts == PARTS and 'name_parts' in cfg.model.roi_head.bbox_head
    assert cfg.model.backbone == plain.model.backbone
    weight = plain.model.roi_head.region_loss_weight
    assert cfg.model.roi_head.region_loss_weight == weight


@pytest.mark.parametrize('novel', [[], ['黑猫'], ['黑猫', 'lamp']])
def test_the_background_counts_less_where_novel_things_stand(tmp_path, novel):
    files = plan_files(look(COCO), tmp_path)
    cfg = load(own_config(files, novel, options(size='b16', parts=PARTS)), tmp_path)
    loss = cfg.model.roi_head.bbox_head.loss_cls
    assert loss.bg_weight == (0.05 if novel else 0.6)
    parts = cfg.model.roi_head.bbox_head.name_parts
    assert parts.get('unlabelled_weight', 0) == (1 if novel == ['黑猫'] else 0)


@pytest.mark.parametrize(
    ('names', 'expected'),
    [
        (
            ['white knight', 'black_knight', 'white-pawn', 'black pawn', 'black rook'],
            'white/knight black/knight white/pawn black/pawn black/rook white/rook',
        ),
        (
            ['red fire truck', 'big  fire truck', 'red cup', 'big cup', 'bus', 'a mug'],
            'red/fire truck|big/fire truck|red/cup|big/cup',
        ),
    ],
)
def test_looks_and_things(names, expected):
    found = split_names(names)
    assert [n for n in found if n in names] == [n for n in names if n in found]
    separator = '|' if '|' in expected else ' '
    pairs = [pair.split('/') for pair in expected.split(separator)]
    assert list(found.values()) == pairs


@pytest.mark.parametrize(
    'names',
    [
        ['cat', 'dog'],
        ['traffic light', 'traffic cone', 'stop sign'],
        ['-rook', '-pawn', 'w-rook', 'w-pawn'],
        ['白色车', '黑色车', '白色兵', '黑色兵'],
        [],
    ],
)
def test_no_looks_and_things(names):
    with pytest.raises(InputError, match='leave --parts out'):
        split_names(names)


@pytest.mark.parametrize('detector', DETECTORS)
def test_configs_of_other_detectors(tmp_path, detector):
    own = look(LABELME)
    files = plan_files(own, tmp_path)
    given = options(size='tiny', detector=detector, epochs=7)
    cfg = load(swap_config(files, own.data.names, True, given), tmp_path)
    counts = re.findall(r"'num_(?:things_)?classes': (\d+)", str(cfg.model))
    assert counts and set(counts) == {'3'}
    assert re.findall(r"'in_channels': (128|768)\b", str(cfg.model)) == ['128']
    for part in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        assert part.dataset.metainfo.classes == ['bus', 'red cup', '黑猫']
        assert part.dataset.data_prefix.img == ''
        assert Path(part.dataset.ann_file).parent == tmp_path
    assert cfg.train_cfg.type == 'EpochBasedTrainLoop' and cfg.train_cfg.max_epochs == 7
    assert cfg.train_dataloader.sampler.type == 'DefaultSampler'


def test_own_names_train_with_lora_and_replay(run_tool, tmp_path, monkeypatch):
    """One epoch through the commands: the own images and two of OVShapes."""
    monkeypatch.chdir(tmp_path)
    words = ['--novel', '黑猫', '--size', 'tiny', '--lora', '--replay', 2]
    code, out, err = run_tool('init_data', COCO, *words, '--epochs', 1, '--out', 'own')
    assert code == 0 and 'train: python tools/train.py own/config.py' in out, err
    train = json.loads(Path('own/train.json').read_text('utf-8'))
    names = [category['name'] for category in train['categories']]
    assert len(train['images']) == 4 and names[:3] == ['red cup', '黑猫', 'bus']
    assert len(names) == 3 + 48 and 'split' not in train['categories'][-1]
    for image in train['images']:
        assert (COCO / image['file_name']).is_file()
    hooks = load(Path('own/config.py').read_text('utf-8'), tmp_path).custom_hooks
    place = [hook.type for hook in hooks].index('ZeroShotRetentionHook')
    small = [f'custom_hooks.{place}.dataset.num_val=2', 'max_num_patches=64']
    code, _, err = run_tool(
        'train', 'own/config.py', '--work-dir', 'work', '--cfg-options', *ALONE, *small
    )
    assert code == 0, err
    metrics = json.loads(Path('work/metrics.json').read_text())
    assert 'open_vocab/novel_ap50' in str(metrics)
    kept = json.loads(Path('work/retention.json').read_text())
    assert [r['epoch'] for r in kept['records']] == [0, 1] and len(kept['names']) == 17


def test_names_made_of_parts_train(run_tool, tmp_path, monkeypatch):
    """From a folder with three base names and a novel one, made of their parts."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / 'cups'
    (folder / 'images').mkdir(parents=True)
    names = ['red cup', 'blue cup', 'red plate', 'blue plate']
    rng = np.random.default_rng(0)
    colors = {'red': (200, 30, 30), 'blue': (30, 30, 200)}
    images, boxes = [], []
    for i in range(6):
        canvas = rng.normal(150, 4, (128, 192, 3)).clip(0, 255).astype(np.uint8)
        for j, (x, y) in enumerate([(10, 10), (100, 60), (60, 80)]):
            label = (i + j) % 4
            canvas[y : y + 40, x : x + 30] = colors[names[label].split()[0]]
            box = dict(bbox=[x, y, 30, 40], area=1200, iscrowd=0)
            box.update(id=len(boxes) + 1, image_id=i, category_id=label)
            boxes.append(box)
        Image.fromarray(canvas).save(folder / f'images/{i}.png')
        size = dict(width=192, height=128)
        images.append(dict(id=i, file_name=f'images/{i}.png', **size))
    categories = [dict(id=i, name=name) for i, name in enumerate(names)]
    content = dict(images=images, annotations=boxes, categories=categories)
    (folder / 'train.json').write_text(json.dumps(content))
    words = ['--novel', 'blue plate', '--size', 'tiny', '--parts', '--epochs', 1]
    code, out, err = run_tool('init_data', folder, *words)
    assert code in (0, 1) and 'cups_det/config.py' in out, err
    assert 'looks: red, blue\nthings: cup, plate\n' in out
    assert re.search(r'^(\d) of \1 training images have two', out, re.MULTILINE)
    assert 'warning: no trained name' not in out
    code, _, err = run_tool(
        'train', 'cups_det/config.py', '--work-dir', 'work', '--cfg-options', *ALONE,
        'max_num_patches=64', 'default_hooks.logger.interval=1',
    )  # fmt: skip
    assert code == 0, err
    lines = next(Path('work').rglob('scalars.json')).read_text().splitlines()
    parts = [json.loads(line).get('loss_parts', 0) for line in lines]
    assert max(parts) > 0
    assert 'open_vocab/novel_ap50' in Path('work/metrics.json').read_text()
    words = ['--novel', 'blue plate; red plate', '--parts', '--check']
    _, out, _ = run_tool('init_data', folder, *words)
    assert "warning: no trained name has 'plate' of 'red plate'" in out
    code, _, err = run_tool('init_data', COCO, '--parts', '--out', 'other')
    assert code == 2 and 'no names are made of two parts' in err
    assert not Path('other').exists()


def test_another_detector_trains(run_tool, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ['--size', 'tiny', '--epochs', 1, '--detector', 'faster-rcnn']
    code, _, err = run_tool('init_data', LABELME, *words, '--out', 'own')
    assert code == 0, err
    small = [
        'train_dataloader.dataset.pipeline.2.scale=(96,64)',
        'val_dataloader.dataset.pipeline.1.scale=(96,64)',
    ]
    code, _, err = run_tool(
        'train', 'own/config.py', '--work-dir', 'work', '--cfg-options', *ALONE, *small
    )
    assert code == 0, err
    assert 'coco/bbox_mAP' in Path('work/metrics.json').read_text()


def test_test_split_and_files_of_their_own(tmp_path):
    """Nothing is written where COCO files serve; all three splits are used."""
    from shutil import copytree

    for split in ('train', 'valid', 'test'):
        copytree(COCO, tmp_path / 'data' / split)
    own = look(tmp_path / 'data')
    assert own.as_it_is  # the same images thrice: they leak, and are the user's
    files = plan_files(own, tmp_path / 'out')
    write_files(own, files)
    assert not (tmp_path / 'out').exists()
    cfg = load(own_config(files, [], options(size='tiny')), tmp_path)
    for part, split in (('val', 'valid'), ('test', 'test')):
        data = cfg[f'{part}_dataloader'].dataset
        assert Path(data.ann_file) == tmp_path / 'data' / split / 'annotations.json'
        assert data.data_prefix.img == f'{split}/images/'
    with pytest.raises(InputError, match=r'train\.json is there already'):
        (tmp_path / 'out').mkdir()
        (tmp_path / 'out' / 'train.json').touch()
        plan_files(own, tmp_path / 'out', replay=1)


@pytest.mark.parametrize('lora', [False, True])
@pytest.mark.parametrize('replay', [0, 100])
@pytest.mark.parametrize('images', [3, 1000])
def test_advice_is_what_was_measured(images, replay, lora):
    record = json.loads(
        (ROOT / 'docs' / 'results' / 'own_data.json').read_text('utf-8')
    )
    on_file = {
        (row['images'], row['train'], row['replay'] > 0): Measured(
            round(row['base_ap50'], 3),
            round(row['retention'], 1),
            round(row['shapes_ap50'], 3),
        )
        for row in record['output']['rows']
    }
    assert on_file == {(0, 'frozen', False): START, **ROWS}
    text = ' '.join(advice(images, lora, replay))
    assert ('replay keeps' in text) == bool(replay) and 'docs/own_data.md' in text
    assert f'on {50 if images == 3 else 150} photographs' in text
