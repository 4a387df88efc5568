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
