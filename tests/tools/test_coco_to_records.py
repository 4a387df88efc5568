"""tools/coco_to_records.py as a user calls it."""

import json

import pytest

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')


def test_writes_one_file_per_language_and_reads_back(coco_data, run_tool, tmp_path):
    from pretrain.data import AlignmentDataset

    out = tmp_path / 'records'
    args = (coco_data / 'ann.json', '--out', out, '--novel', '白色杯子')
    code, printed, _ = run_tool('coco_to_records', *args)
    assert code == 0
    assert f'{out / "ann_en.json"}: 4 images, 4 boxes' in printed
    dataset = AlignmentDataset(out, coco_data)
    assert dataset[0][0].phrases == ['black cat']
    assert '杯' not in (out / 'ann_en.json').read_text(encoding='utf-8')


def test_bad_input_is_one_sentence(coco_data, run_tool, tmp_path):
    code, _, error = run_tool('coco_to_records', 'no.json', '--out', tmp_path)
    assert code == 2 and error.startswith('error: no.json cannot be read')
    broken = tmp_path / 'broken.json'
    broken.write_text(json.dumps({'images': []}))
    code, _, error = run_tool('coco_to_records', broken, '--out', tmp_path)
    assert code == 2 and "list of 'annotations'" in error and str(broken) in error
