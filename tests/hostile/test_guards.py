"""What is promised beyond one sentence: no trace, no program, a status, JSON."""

import json
import os
import sys

import pytest
import torch
from PIL import EpsImagePlugin, Image

from fgclip2_det.cli import main
from fgclip2_det.cli.parsing import BAD_ANSWER, FAILED
from fgclip2_det.coco.mmdet_pickle import read_mmdet_pickle
from fgclip2_det.fgclip2.image import load_image, open_image
from fgclip2_det.io import InputError
from tests.hostile.annotation_rows import coco, image
from tests.hostile.image_rows import POSTSCRIPT
from tests.hostile.text_rows import write

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

# pushes a function of torch and sets an attribute of it, as BUILD may
SETS = b'\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}X\x06\0\0\0markedK\x01sb.'


def test_a_refused_pickle_leaves_torch_as_it_was(tmp_path):
    (tmp_path / 'dt.pkl').write_bytes(SETS)
    with pytest.raises(InputError, match='must hold a list'):
        read_mmdet_pickle(tmp_path / 'dt.pkl', [1])
    assert not hasattr(torch._utils._rebuild_tensor_v2, 'marked')


def test_a_refused_checkpoint_leaves_torch_as_it_was(tmp_path):
    from fgclip2_det.models.checkpoints import read_checkpoint

    state = torch.serialization._serialization_tls
    before = dict(vars(state))
    sparse = torch.eye(3).to_sparse()
    torch.save({'a': sparse, 'state_dict': {'b': print}}, tmp_path / 'a.pth')
    with pytest.raises(InputError, match='print'):
        read_checkpoint(tmp_path / 'a.pth')
    assert vars(state) == before
    assert torch._utils._sparse_tensors_to_validate == []
    torch.save({'state_dict': {'a': torch.ones(2)}}, tmp_path / 'b.pth')
    assert read_checkpoint(tmp_path / 'b.pth')['state_dict']['a'].tolist() == [1, 1]


@pytest.mark.parametrize('name', ['a.eps', 'a.png', 'a.jpg'])
def test_postscript_starts_no_program(tmp_path, monkeypatch, name):
    """Neither from a file nor in an image that somebody else has opened."""

    def started(*args, **kwargs):
        raise AssertionError('a program was started')

    (tmp_path / name).write_bytes(POSTSCRIPT)
    monkeypatch.setattr(EpsImagePlugin, 'Ghostscript', started)
    monkeypatch.setattr('subprocess.Popen', started)
    with pytest.raises(InputError, match='format is not known'):
        load_image(tmp_path / name)
    with (
        pytest.raises(InputError, match='format is not known'),
        open_image(POSTSCRIPT) as opened,
    ):
        opened.load()
    with (
        pytest.raises(InputError, match='format is EPS'),
        Image.open(tmp_path / name) as opened,
    ):
        load_image(opened)


def test_a_batch_goes_on_after_a_decoder_that_raises(tmp_path, monkeypatch):
    """A plug-in's NotImplementedError is one unread image of three."""
    from fgclip2_det.apis.inputs import find_inputs
    from tests.hostile.image_rows import encoded

    for name in 'abc':
        (tmp_path / f'{name}.png').write_bytes(encoded('PNG'))
    real, calls = Image.Image.convert, []

    def convert(self, *args, **kwargs):
        calls.append(self)
        if len(calls) == 2:
            raise NotImplementedError('this mode')
        return real(self, *args, **kwargs)

    monkeypatch.setattr(Image.Image, 'convert', convert)
    read, unread = [], []
    for source in find_inputs(str(tmp_path)):
        try:
            read.append(source.load())
        except ValueError as error:  # as the inferencer's stream and image_demo do
            unread.append(str(error))
    assert len(read) == 2 and len(unread) == 1 and 'b.png' in unread[0]


def test_yaml_and_json_configs_import_nothing(tmp_path, monkeypatch):
    from fgclip2_det.engine.config import load_config

    trace = tmp_path / 'ran'
    (tmp_path / 'marker.py').write_text(
        f"open({str(trace)!r}, 'w').close()\nmodel = {{}}"
    )
    monkeypatch.syspath_prepend(tmp_path)
    for content in (
        {'custom_imports': {'imports': ['marker']}},
        {'custom_imports': 'marker'},
        {'_base_': 'marker.py'},
        {'_base_': ['marker.py']},
        {'neck': {'_scope_': 'marker'}},
        {'neck': {'type': 'marker.Net'}},
        {'default_scope': 'marker'},
    ):
        path = write(tmp_path, 'a.json', {'model': {'type': 'RetinaNet'}} | content)
        with pytest.raises(InputError, match='marker'):
            load_config(path)
        yaml = tmp_path / 'a.yaml'
        yaml.write_bytes(path.read_bytes())  # JSON is YAML
        with pytest.raises(InputError, match='marker'):
            load_config(yaml)
    assert 'marker' not in sys.modules and not trace.exists()


@pytest.mark.parametrize(
    ('words', 'status'),
    [
        (['check-vocabulary', 'cat', 'dog'], 0),
        (['check-vocabulary', 'cat', 'cats', '--strict'], BAD_ANSWER),
        (['check-vocabulary', 'cat', '--templates', 'x'], FAILED),
        (['check-vocabulary', '--colour'], FAILED),
        (['prepare-data', 'leaks', '--train', 'A', '--val', 'B'], 0),
        (['prepare-data', 'leaks', '--train', 'A', '--val', 'A'], BAD_ANSWER),
        (['prepare-data', 'leaks', '--train', 'A', '--val', 'gone'], FAILED),
        (['prepare-data', 'check', '.'], 0),
        (['prepare-data', 'check', 'gone'], FAILED),
        (['compare-results', 'M', 'M'], 0),
        (['compare-results', 'M', 'N'], BAD_ANSWER),
        (['compare-results', 'M', 'A'], FAILED),
    ],
)
def test_status_and_json(tmp_path, monkeypatch, capsys, words, status):
    """0 fine, 1 the answer is bad, 2 usage or input; findings as JSON."""
    monkeypatch.chdir(tmp_path)
    other = image(id=3, file_name='other.jpg', width=7)
    write(tmp_path, 'A', coco())
    write(tmp_path, 'B', coco(images=[other], annotations=[]))
    write(tmp_path, 'M', {'metrics': {'ap': 0.5}, 'protocol': {'name': 'coco'}})
    write(
        tmp_path, 'N', {'metrics': {'ap': 0.5}, 'protocol': {'images': {'sha256': 1}}}
    )
    words = [*words, '--json', 'findings.json']
    try:
        main(words)
        code = 0
    except SystemExit as stop:
        code = stop.code or 0
    assert code == status, capsys.readouterr().err
    assert os.path.exists('findings.json') == (status != FAILED)
    if status != FAILED:
        with open('findings.json') as file:
            assert isinstance(json.load(file), dict)
