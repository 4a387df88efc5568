"""Commands with a folder of version 1 where one of version 2 goes."""

import json
from pathlib import Path

import pytest
import torch

from fgclip2_det import Vocabulary, load_encoder

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')


@pytest.mark.parametrize('which', ['version 1', 'clip'])
def test_zero_shot_of_a_data_set(fgclip1_tiny, clip_tiny, tmp_path, run_tool, which):
    checkpoint = clip_tiny if which == 'clip' else fgclip1_tiny
    code, _, err = run_tool(
        'zeroshot', '--checkpoint', checkpoint, '--num-images', 3, '--out',
        tmp_path / 'out.json', '--data-root', tmp_path / 'data',
        '--max-num-patches', 49,
    )  # fmt: skip
    assert code == 0, err
    result = json.loads((tmp_path / 'out.json').read_text())
    assert 'hard11' in json.dumps(result)


@pytest.fixture
def words(rescore_words, fgclip1_tiny) -> list:
    return [*rescore_words, '--encoder', fgclip1_tiny]


def test_results_are_re_scored(run_tool, words, tmp_path):
    """With sqrt(d p): the squares over d are the two names' shares."""
    out = tmp_path / 'out.json'
    options = ['--alpha', 0.5, '--temperature', 0.1, '--out', out]
    code, _, err = run_tool('rescore', *words, *options)
    assert code == 0, err
    rows = json.loads(out.read_text())
    shares = [row['score'] ** 2 / row['det_score'] for row in rows]
    assert sum(shares) == pytest.approx(1, abs=1e-5)
    encoder = load_encoder(words[-1])
    embeds = Vocabulary(['red star', 'ring']).embed(encoder)
    batch = encoder.preprocess([str(tmp_path / 'a.png')])
    with torch.no_grad():
        (region,) = encoder.region_features(batch, [[[8, 8, 38, 48]]], True)
    wanted = (region @ embeds.T / 0.1).softmax(1)[0].tolist()
    assert shares == pytest.approx(wanted, abs=1e-5)


def test_scores_are_dumped(run_tool, words, tmp_path):
    code, _, err = run_tool('dump_scores', *words, '--out', tmp_path / 'dump')
    assert code == 0, err
    assert (tmp_path / 'dump').exists()


def test_a_wrapped_detector_is_tested(
    fgclip1_tiny, write_config, run_tool, coco_data, tmp_path
):
    """In mode 'box', the similarity alone: each box gets its best name."""
    from mmdet.registry import MODELS
    from mmengine.config import Config

    from tests.tools.test_wrapped_detectors import rescorer_config, results

    path = rescorer_config(
        write_config, None, mode='box', fusion=dict(type='OpenVocabGeometricFusion'),
        max_per_image=5,
    )  # fmt: skip
    config = Config.fromfile(path)
    config.model.encoder = dict(pretrained=str(fgclip1_tiny))
    config.model.fusion.alpha = 1.0
    config.dump(path)
    torch.manual_seed(0)
    inner = MODELS.build(Config.fromfile(write_config()).model)
    torch.nn.init.normal_(inner.bbox_head.retina_cls.weight, std=0.3)
    torch.save(dict(state_dict=inner.state_dict()), tmp_path / 'retinanet.pth')
    code, _, err = run_tool('test', path, tmp_path / 'retinanet.pth')
    assert code == 0, err
    rows = results(path)
    encoder = load_encoder(fgclip1_tiny)
    names = Vocabulary(config.test_dataloader.dataset.metainfo['classes'])
    embeds = names.embed(encoder)
    for row in rows[:3]:
        batch = encoder.preprocess([coco_data / f'{row["image_id"]}.png'])
        x, y, w, h = row['bbox']
        with torch.no_grad():
            (region,) = encoder.region_features(batch, [[[x, y, x + w, y + h]]], True)
        shares = ((region @ embeds.T) / 0.01).softmax(-1)[0]
        assert row['score'] == pytest.approx(float(shares.max()), abs=1e-4)
        assert row['category_id'] == int(shares.argmax())
    check_inferencer(path, tmp_path / 'retinanet.pth', rows, coco_data)


def check_inferencer(config, weights, rows, data) -> None:
    """The same scores from the inferencer."""
    from fgclip2_det import OpenVocabInferencer

    inferencer = OpenVocabInferencer(weights=str(weights), detector=str(config))
    (found,) = inferencer(data / '0.png')
    wanted = sorted(row['score'] for row in rows if row['image_id'] == 0)
    assert sorted(found.scores.tolist()) == pytest.approx(wanted, abs=1e-4)


def test_an_f_vit_detector_in_the_inferencer(fgclip1_tiny, tmp_path, coco_data):
    """From its checkpoint and config; a box shown as a prompt."""
    from mmengine.config import Config

    from fgclip2_det import OpenVocabInferencer
    from fgclip2_det.vocabulary.image_prompts import ImagePrompt
    from tests.fgclip1.test_everywhere import detector

    model = detector(fgclip1_tiny)
    torch.nn.init.normal_(model.roi_head.bbox_head.fc_cls.project.weight, std=1.0)
    model.set_vocabulary(['red star', 'blue ring'])
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'weights.pth')
    ovshapes = Path(__file__).resolve().parents[2] / 'configs/_base_'
    config = Config.fromfile(ovshapes / 'models/fgclip2-det_tiny_sfpn.py')
    config.merge_from_dict(
        dict(
            default_scope='mmdet',
            model=dict(
                backbone=dict(
                    type='FGCLIP1ViT', encoder=dict(pretrained=str(fgclip1_tiny))
                ),
                neck=dict(in_channels=96),
                roi_head=dict(bbox_head=dict(embed_dims=80)),
            ),
        )
    )
    data = Config.fromfile(ovshapes / 'datasets/ovshapes.py')
    config.test_dataloader = data.test_dataloader
    config.custom_imports = dict(imports=['fgclip2_det.registration'])
    config.dump(tmp_path / 'config.py')
    inferencer = OpenVocabInferencer(
        tmp_path / 'weights.pth', config=str(tmp_path / 'config.py')
    )
    file = coco_data / '0.png'
    (found,) = inferencer(file, ['green cross', '白色杯子'])
    assert len(found) and set(found.names) <= {'green cross', '白色杯子'}
    prompt = ImagePrompt('thing', [(str(file), [8, 8, 60, 50])])
    shown = inferencer.encode_prompts([prompt])
    assert shown.embeds.shape == (1, 80)
    (found,) = inferencer(file, Vocabulary(['thing', 'red star'], images=shown))
    assert len(found) and set(found.names) <= {'thing', 'red star'}
