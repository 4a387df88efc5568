"""tools/rescore.py from files to files."""

import json

import pytest
import torch

from fgclip2_det import FGCLIP2, Vocabulary
from fgclip2_det.coco.predictions import read_predictions

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')


@pytest.fixture
def words(rescore_words) -> list:
    return [*rescore_words, '--encoder', 'fgclip2_tiny']


def test_keep_then_box(run_tool, words, tmp_path):
    """With sqrt(d p): the squares over d are the two names' shares."""
    out = tmp_path / 'made' / 'out.json'
    options = ['--alpha', 0.5, '--temperature', 0.1, '--out', out]
    code, text, err = run_tool('rescore', *words, *options)
    assert code == 0, err
    assert text == f'2 rows of 1 images -> 2 rows: {out}\n'
    rows = json.loads(out.read_text())
    assert [row['category_id'] for row in rows] == [4, 2]
    assert [row['det_score'] for row in rows] == pytest.approx([0.8, 0.4])
    shares = [row['score'] ** 2 / row['det_score'] for row in rows]
    assert sum(shares) == pytest.approx(1, abs=1e-5)
    code, text, err = run_tool('rescore', *words, *options, '--mode', 'box')
    assert code == 0, err
    assert '-> 1 rows' in text and '--nms 0.7' in text
    [row] = json.loads(out.read_text())
    assert row['category_id'] == (4 if shares[0] > shares[1] else 2)
    assert row['score'] == pytest.approx((0.8 * max(shares)) ** 0.5, abs=1e-5)


def test_a_weight_of_novel_names_without_any(run_tool, words, tmp_path):
    options = ['--beta', 0.9, '--out', tmp_path / 'out.json']
    code, text, err = run_tool('rescore', *words, *options)
    assert code == 0, err
    assert text.startswith('WARNING: no class is novel, so --beta 0.9 changes nothing')
    code, text, err = run_tool('rescore', *words, *options, '--novel', 'ring')
    assert code == 0 and 'WARNING' not in text, err


def test_competitors_make_one_name_no_certainty(run_tool, words, tmp_path):
    """The similarity of a single name is 1 without them, and below 1 with them; its
    translation does not compete with it."""
    coco = json.loads((tmp_path / 'ann.json').read_text())
    coco['categories'] = coco['categories'][:1]
    (tmp_path / 'ann.json').write_text(json.dumps(coco))
    rows = json.loads((tmp_path / 'rows.json').read_text())[:1]
    (tmp_path / 'rows.json').write_text(json.dumps(rows))
    (tmp_path / 'others.txt').write_text('blue star\nRed_star\n红色星形\n')
    options = ['--alpha', 1, '--temperature', 0.1, '--out', tmp_path / 'out.json']
    scores = []
    others = ['--competitors', tmp_path / 'others.txt']
    for more, said in (([], ''), (others, '2 competitors\n')):
        code, text, err = run_tool('rescore', *words, *options, *more)
        assert code == 0, err
        assert text.startswith(said)
        [row] = json.loads((tmp_path / 'out.json').read_text())
        scores.append(row['score'])
    encoder = FGCLIP2.from_pretrained('fgclip2_tiny')
    embeds = Vocabulary(['red star', 'blue star'], check=False).embed(encoder)
    batch = encoder.preprocess([str(tmp_path / 'a.png')], 'auto')
    box = torch.tensor([[8.0, 8.0, 38.0, 48.0]])
    with torch.no_grad():
        region = encoder.region_features(batch, [box], True)[0]
    expected = (region @ embeds.T / 0.1).softmax(1)[0, 0]
    assert scores == pytest.approx([1.0, float(expected)], abs=1e-5)


@pytest.mark.parametrize(
    'options',
    [
        ['--fusion', 'lami', '--novel', 'ring', '--calibration', -0.5, -1],
        ['--fusion', 'lami', '--novel', 'ring'],
        ['--fusion', 'detrefiner', '--alpha', 0.6],
    ],
    ids=lambda words: ' '.join(map(str, words)),
)
def test_scores_that_can_be_evaluated(run_tool, words, tmp_path, options):
    """Sure boxes, all scores in [0, 1] whatever the factor and the weights."""
    rows = json.loads((tmp_path / 'rows.json').read_text())
    (tmp_path / 'rows.json').write_text(json.dumps([r | dict(score=1.0) for r in rows]))
    out = tmp_path / 'out.json'
    code, _, err = run_tool(
        'rescore', *words, '--temperature', 10, '--out', out, *options
    )
    assert code == 0, err
    scores = {row['category_id']: row['score'] for row in json.loads(out.read_text())}
    assert all(0 < score <= 1 for score in scores.values())
    if 'lami' in options:
        assert scores[2] > scores[4]  # novel names come first, as without the division
    split = read_predictions(out, tmp_path / 'ann.json')
    assert sum(map(len, split.rows.values())) == 2


def test_what_is_wrong_is_one_sentence(run_tool, words, tmp_path):
    out = tmp_path / 'out.json'
    for options, message in (
        (['--alpha', 2], 'alpha must lie in [0, 1], got 2.0'),
        (['--nms', 0.5], "mode 'keep' keeps every row"),
        (['--novel', 'zebra'], "'zebra'"),
        (['--fusion', 'detrefiner', '--beta', 0.5], 'one weight for all names'),
        (['--competitors', 'nowhere.txt'], 'there is no file nowhere.txt'),
        (['--competitors', 'object365'], 'did you mean objects365? The lists are coco'),
        (['--competitors', 'zebra'], 'no file zebra and no list of this name. The lis'),
        (['--predictions', 'nowhere.json'], 'nowhere.json cannot be read'),
        (['--max-per-image', 0], 'max_per_image must be at least 1, got 0'),
        (['--labels-per-box', 3], '--labels-per-box 3 is for --mode box and joint'),
        (['--floor', 0.5], '--floor 0.5 is for --mode joint, got --mode keep'),
        (['--floor', 0.5, '--mode', 'box'], '--floor 0.5 is for --mode joint, got'),
        (['--device', 'nonsense'], '--device nonsense cannot be used (Expected one of'),
        (['--out', tmp_path, '--encoder', 'nowhere'], 'is a folder; name a file in it'),
    ):
        code, _, err = run_tool('rescore', *words, '--out', out, *options)
        assert code == 2, options
        assert err.startswith('error: ') and message in err
        assert 'Traceback' not in err
    assert not out.exists()
    if not torch.cuda.is_available():
        code, _, err = run_tool('rescore', *words, '--out', out, '--device', 'cuda')
        assert code == 2 and err.startswith('error: --device cuda cannot be used (')
    code, text, _ = run_tool('rescore', '--help')
    assert code == 0 and 'python tools/rescore.py --predictions' in text
