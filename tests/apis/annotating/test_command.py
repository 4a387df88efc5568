"""``fgclip2-det annotate``, as it is typed."""

import errno
import json

import pytest

from fgclip2_det import cli
from fgclip2_det.apis.annotating import annotate, label_files, lines, run
from fgclip2_det.cli import annotate as command
from tests.apis.annotating.labels import UNREAD, read


@pytest.fixture(autouse=True)
def one_model(monkeypatch, inferencer):
    monkeypatch.setattr(command, 'build', lambda args: inferencer)


@pytest.fixture
def typed(capsys, photos, ontology, tmp_path):
    """typed(*words) -> exit code, stdout, stderr; labels go to tmp_path / 'out'."""

    def call(*words, images=(photos,), names=ontology):
        code = 0
        own = ['--ontology', names] if names is not None else []
        try:
            cli.main(['annotate', *map(str, images), *map(str, own),
                      '--out', str(tmp_path / 'out'), *map(str, words)])  # fmt: skip
        except SystemExit as stop:
            code = stop.code
        return code, *capsys.readouterr()

    return call


def test_a_folder_then_its_review(typed, tmp_path):
    code, out, err = typed('--format', 'coco', 'yolo', '--accept', 0.6)
    assert code == 1 and err.startswith('error: 1 images or folders cannot be read')
    assert UNREAD in err and err.count('\n') == 1
    rows = [line.split() for line in out.splitlines()]
    assert rows[1] == ['circle', '6', '6', '0', rows[1][4], '0.60']
    assert 'images/s' in out and out.splitlines()[-1] == f'labels: {tmp_path / "out"}'
    code, out, err = typed(
        '--review', tmp_path / 'out/review.json', images=(), names=None
    )
    assert (code, err) == (0, '')
    assert '1.00 (0.61 to 1.00)' in out and '6 images are corrected' in out


def test_a_labelled_part(typed, tmp_path):
    """The labels of the folder as its truth, one circle moved away."""
    typed()
    content = read(tmp_path / 'out/coco.json')
    moved = content['annotations'][0]
    moved['bbox'] = [90, 60, 20, 20]
    part = tmp_path / 'part.json'
    part.write_text(json.dumps(content))
    words = '--labelled', part, '--precision', 0.8, '--min-boxes', 1, '--overwrite'
    code, out, err = typed(*words)
    assert code == 1, err
    first, circle = (line.split() for line in out.splitlines()[:2])
    assert first[-4:] == ['of', 'boxes', 'threshold', 'by']
    assert circle[6:] == ['0.83', '(0.44', 'to', '0.97)', '6', 'labelled']
    bands = read(tmp_path / 'out/annotate.json')['classes']
    assert bands[2]['band']['source'] == 'labelled, all classes'
    assert bands[0]['band']['accept'] == min(
        each['score'] for each in content['annotations'] if each['category_id'] == 1
    )
    code, _, err = typed('--labelled', tmp_path / 'absent.json')
    assert code == 2 and 'absent.json cannot be read' in err


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['--accept', '2'], 'expected a number from 0 to 1, got 2'),
        (['--review', '2'], '--review must be a number from 0 to 1, got 2'),
        (['--review', 'changed.xml'], '--review is a score or a file (.json)'),
        (['--review', 'a.json'], 'alone; leave folder, --ontology out'),
        (
            [
                '--review',
                'a.json',
                '--min-boxes',
                '3',
                '--slices',
                '200',
                '--weights',
                'x.pth',
            ],
            'leave folder, --ontology, --min-boxes, --weights, --slices out',
        ),
        (['--labelled', 'a.json', '--accept', '.5'], 'leave --accept out'),
        (['--precision', '.9'], 'belong to --labelled'),
        (['--format', 'csv'], "invalid choice: 'csv'"),
        (['--out', __file__], 'is a file; name a folder'),
    ],
)
def test_usage(typed, words, message):
    code, _, err = typed(*words)
    assert code == 2 and message in err


def test_a_folder_is_needed(typed):
    code, _, err = typed(images=())
    assert code == 2 and 'name a folder of images and --ontology' in err
    code, _, err = typed(images=('absent',))
    assert code == 2 and 'there is no folder absent of images' in err


def test_faults_are_one_sentence(typed, tmp_path):
    code, _, err = typed('--accept', 0.2, '--review', 0.4)
    assert code == 2 and err.startswith('error: review 0.4 is above accept 0.2')
    path = tmp_path / 'classes.yaml'
    path.write_text('classes: {a: [b], c: [b]}')
    code, _, err = typed(names=path)
    assert code == 2 and err.startswith(f"error: {path}: class 'c': the prompt 'b'")
    assert not (tmp_path / 'out').exists()


def test_interrupted(typed, tmp_path, monkeypatch):
    """What was done is there, and the same command goes on."""
    stream = run.OpenVocabInferencer.stream

    def stopped(self, *words, **options):
        for number, outcome in enumerate(stream(self, *words, **options)):
            if number == 3:
                raise KeyboardInterrupt
            yield outcome

    monkeypatch.setattr(run.OpenVocabInferencer, 'stream', stopped)
    code, _, err = typed()
    assert code == 130
    assert f'interrupted: 3 of 7 images are done, see {tmp_path / "out"}' in err
    assert len(lines.read_lines(tmp_path / 'out' / lines.NAME)) == 3
    monkeypatch.setattr(run.OpenVocabInferencer, 'stream', stream)
    code, out, _ = typed()
    assert code == 1 and '4 images in' in out

    def stop(args):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, 'build', stop)
    code, _, err = typed()
    assert code == 130 and 'interrupted: no image was done' in err


@pytest.mark.parametrize('where', ['line', 'label'])
def test_no_space_left(typed, tmp_path, monkeypatch, where):
    """A sentence, in the thread that writes lines and later; then it goes on."""
    owner, name = (
        (lines.LineFile, 'add')
        if where == 'line'
        else (label_files.LabelFiles, 'write')
    )
    own, calls = getattr(owner, name), []

    def full(self, value):
        calls.append(value)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, 'No space left on device')
        own(self, value)

    monkeypatch.setattr(owner, name, full)
    code, _, err = typed()
    assert code == 2 and err.count('\n') == 1 and 'No space left on device' in err
    count = 1 if where == 'line' else 7
    assert f'{count} of 7 images are done, see' in err
    monkeypatch.setattr(owner, name, own)
    code, out, _ = typed()
    assert code == 1 and (where == 'label') != ('6 images in' in out)


def test_from_python(photos, inferencer, tmp_path):
    """Image prompts, a mapping, and the labels as they were."""
    seen = []
    done = annotate(
        photos,
        {'classes': {'disc': {'prompts': ['red circle'], 'negatives': ['red ring'],
                              'images': [f'{photos}/0.png:8,30,48,70']}}},
        tmp_path / 'out', inferencer, accept=0.3, review=0.1,
        bar=lambda images, total: seen.append(total) or images,
    )  # fmt: skip
    assert seen == [7] and done.num_images == 6
    assert done.rows[0]['class'] == 'disc' and done.rows[0]['accept'] == 6
    manifest = read(tmp_path / 'out/manifest.json')
    assert manifest['complete'] and manifest['formats'] == ['coco']


def test_slices(typed, tmp_path):
    """Images that fit are detected in one piece, with the same boxes."""
    typed()
    whole = read(tmp_path / 'out/coco.json')
    code, _, err = typed('--slices', 200, '--batch-size', 2)
    assert code == 2 and 'batch size 1 there, 2 here; slices' in err
    typed('--slices', 200, '--batch-size', 2, '--overwrite')
    assert read(tmp_path / 'out/coco.json') == whole
