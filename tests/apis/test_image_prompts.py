"""The inferencer and the command, shown what to find."""

import json

import pytest
import torch
from PIL import Image, ImageDraw

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from fgclip2_det import OpenVocabInferencer, cli
from fgclip2_det.vocabulary.image_prompts import ImagePrompt

BOX = (20, 20, 100, 100)


def drawn(circle, square) -> Image.Image:
    image = Image.new('RGB', (256, 192), 'gray')
    canvas = ImageDraw.Draw(image)
    canvas.ellipse(circle, fill='red')
    canvas.rectangle(square, fill='blue')
    return image


@pytest.fixture(scope='module')
def inferencer() -> OpenVocabInferencer:
    return OpenVocabInferencer()


def test_a_shown_class_is_found(inferencer):
    """In another image, elsewhere; its embedding is in both parts of the head."""
    example = drawn(BOX, (160, 100, 220, 160))
    picture = drawn((150, 60, 230, 140), (30, 30, 90, 90))
    shown = inferencer.encode_prompts([ImagePrompt('thing', [(example, BOX)])])
    (found,) = inferencer(picture, shown.vocabulary(['blue square']))
    rows = torch.tensor(found.labels) == 1
    best = found.bboxes[rows][found.scores[rows].argmax()]
    torch.testing.assert_close(
        best, torch.tensor([150.0, 60, 230, 140]), atol=8, rtol=0
    )
    torch.testing.assert_close(
        inferencer.model.classifier.class_embeds()[1], shown.embeds[0]
    )
    competitors = inferencer.model.competitors(
        inferencer.vocabulary, inferencer.model.classifier.class_embeds(),
        inferencer.model.trained_classes,
        lambda texts: texts.embed(inferencer.model._text_source()), None,
    )  # fmt: skip
    rivals = competitors.rivals(1)
    assert 'red circle' not in rivals and 'red star' in rivals
    assert 'red circle' in competitors.rivals(0)


def test_the_command(inferencer, tmp_path, monkeypatch, capsys):
    from fgclip2_det.cli import detect

    monkeypatch.setattr(detect, 'build', lambda args: inferencer)
    example, picture = tmp_path / 'example.png', tmp_path / 'picture.png'
    drawn(BOX, (160, 100, 220, 160)).save(example)
    drawn((150, 60, 230, 140), (30, 30, 90, 90)).save(picture)
    like = f'{example}:20,20,100,100='
    words = ['detect', str(picture), '--score-thr', '0', '--out', str(tmp_path / 'out')]
    cli.main([*words, '--names', 'blue square; red circle', '--like', f'{like}thing',
              '--like', f'{like}red circle'])  # fmt: skip
    content = json.loads((tmp_path / 'out/detections.json').read_text('utf-8'))
    assert content['classes'] == ['blue square', 'thing', 'red circle']
    prompts = [ImagePrompt('thing', [(example, BOX)]),
               ImagePrompt('red circle', [(example, BOX)], 'red circle')]  # fmt: skip
    shown = inferencer.encode_prompts(prompts).vocabulary(['blue square'])
    wanted = inferencer(picture, shown)[0].scores.tolist()
    rows = content['images'][0]['detections']
    assert [row['score'] for row in rows] == pytest.approx(wanted, abs=1e-4)
    for bad, message in (('a.png', 'is written'), (f'{example}:0,0,999,9=x', 'within')):
        with pytest.raises(SystemExit):
            cli.main([*words, '--like', bad])
        assert message in capsys.readouterr().err


def test_negative_boxes_compete(inferencer):
    """A class shown by a red circle takes the blue square as well where nothing else
    is asked for; shown what it is not, it leaves it."""
    example = drawn(BOX, (160, 100, 220, 160))
    picture = drawn((150, 60, 230, 140), (30, 30, 90, 90))
    square = (160, 100, 220, 160)

    def scores(**negatives) -> tuple[float, float]:
        prompt = ImagePrompt('thing', [(example, BOX), (example, square)], **negatives)
        own = OpenVocabInferencer()
        own.model.competitors = None
        (found,) = own(picture, own.encode_prompts([prompt]).vocabulary())
        left = found.bboxes[:, 2] < 128
        return float(found.scores[~left].max()), float(found.scores[left].max())

    circle, other = scores()
    kept, gone = scores(negatives=[(example, square)])
    assert other > 0.3 and gone < 0.5 * other
    assert kept > 0.8 * circle


def test_prompts_of_one_name_are_told_apart(inferencer):
    """By a re-scorer too: other images, other scores."""
    example = drawn(BOX, (160, 100, 220, 160))
    picture = drawn((150, 60, 230, 140), (30, 30, 90, 90))
    for box in BOX, (160, 100, 220, 160):
        shown = inferencer.encode_prompts([ImagePrompt('thing', [(example, box)])])
        inferencer(picture, shown.vocabulary(['ring']))
        torch.testing.assert_close(
            inferencer.model.classifier.class_embeds()[1], shown.embeds[0]
        )


def test_a_saved_file_and_negative_boxes_of_the_command(
    inferencer, tmp_path, monkeypatch, capsys
):
    from fgclip2_det.cli import detect

    monkeypatch.setattr(detect, 'build', lambda args: inferencer)
    example, picture = tmp_path / 'example.png', tmp_path / 'picture.png'
    drawn(BOX, (160, 100, 220, 160)).save(example)
    drawn((150, 60, 230, 140), (30, 30, 90, 90)).save(picture)
    words = ['detect', str(picture), '--score-thr', '0', '--out', str(tmp_path / 'out')]
    file = str(tmp_path / 'mine.safetensors')
    boxes = ['--like', f'{example}:20,20,100,100=thing',
             '--unlike', f'{example}:160,100,220,160=thing']  # fmt: skip

    def content() -> dict:
        return json.loads((tmp_path / 'out/detections.json').read_text('utf-8'))

    cli.main([*words, '--names', 'ring', *boxes, '--save-prompts', file])
    first = content()
    assert first['classes'] == ['ring', 'thing'] and first['images'][0]['detections']
    cli.main([*words, '--names', 'ring', '--like', file])
    assert content() == first
    for bad, message in (
        (['--like', file, *boxes[2:]], '--unlike is given for'),
        (['--names', 'ring', *boxes[2:]], '--unlike belongs to --like'),
        (['--names', 'ring', '--save-prompts', file], '--save-prompts belongs to'),
        (['--like', str(tmp_path / 'none.safetensors')], 'is no file of image prompts'),
        (['--names', '{noun}', '--words', 'noun'], 'expected LIST=WORD|WORD'),
    ):
        with pytest.raises(SystemExit):
            cli.main([*words, *bad])
        assert message in capsys.readouterr().err
