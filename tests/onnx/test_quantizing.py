"""Int8 of a folder whose weights lie beside the graphs, and what an export refuses
before it replaces anything."""

import shutil

import numpy as np
import pytest

from fgclip2_det.cli import run
from fgclip2_det.io import InputError
from fgclip2_det.onnx import export_encoder, tracing
from fgclip2_det.onnx.quantizing import quantize_folder
from fgclip2_det.onnx.sessions import Session


def size(folder) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


@pytest.fixture(scope='module')
def large(packages, encoder, tmp_path_factory):
    """The encoder, exported as one beyond the limit of an .onnx file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracing, 'INLINE', 0)
        out = tmp_path_factory.mktemp('large') / 'out'
        return export_encoder(encoder, out, opset=18, max_side=40)


def test_int8_of_a_large_model_is_smaller(large, tmp_path):
    """No weights in float stay in the files beside the graphs."""
    folder = shutil.copytree(large, tmp_path / 'int8')
    assert (folder / 'vision.onnx.data').is_file()
    before = size(folder)
    done = quantize_folder(folder)
    graphs = [f for f in folder.iterdir() if f.name.startswith(('vision', 'text'))]
    assert done.after == sum(f.stat().st_size for f in graphs)
    saved = done.before - done.after
    layers = 64 * 64 * 4 + 64 * 128 * 2  # of one block
    assert saved > 2 * layers and before - size(folder) == pytest.approx(saved, rel=0.2)
    images = np.zeros((1, 3, 32, 48), np.float32)
    (exact, _), (pooled, _) = (
        Session(root / 'vision.onnx')(dict(images=images)) for root in (large, folder)
    )
    np.testing.assert_allclose(pooled, exact, atol=0.1 * abs(exact).max())


def test_a_part_that_no_layer_has(large, tmp_path):
    folder = shutil.copytree(large, tmp_path / 'int8')
    before = sorted((f.name, f.stat().st_size) for f in folder.iterdir())
    with pytest.raises(InputError, match="no layer has 'nosuchlayer' in its name"):
        quantize_folder(folder, keep=['fc1', 'nosuchlayer'])
    assert sorted((f.name, f.stat().st_size) for f in folder.iterdir()) == before
    assert any(
        'fc1' in n for n in quantize_folder(folder, keep=['fc1']).kept['text.onnx']
    )


@pytest.mark.parametrize('kind', [['--encoder', 'fgclip2_tiny'], []], ids=str)
@pytest.mark.parametrize(
    'words', [['--check'], ['--int8', 'static', '--calibrate']], ids=lambda w: w[-1]
)
def test_pictures_are_looked_for_first(tmp_path, capsys, kind, words):
    """An export that is there stays as it is."""
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out/description.json').write_text('{}')
    with pytest.raises(SystemExit) as error:
        run('export', [str(tmp_path / 'out'), *kind, *words, 'nowhere.png'])
    assert error.value.code == 2
    assert 'there is no image nowhere.png' in capsys.readouterr().err
    assert [f.name for f in (tmp_path / 'out').iterdir()] == ['description.json']
