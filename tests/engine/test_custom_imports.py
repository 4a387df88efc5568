"""Configs that name the packages, and those that name what registers."""

import pytest

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from mmengine.config import Config

from fgclip2_det.engine.work_dir import config_fingerprint

OLD = ['fgclip2_det', 'pretrain', 'plugin']
NEW = ['fgclip2_det.registration', 'pretrain.registration', 'plugin']


def fingerprint(imports: list[str] | str) -> dict:
    custom = {'imports': imports, 'allow_failed_imports': False}
    return config_fingerprint(
        Config({'model': {'type': 'A'}, 'custom_imports': custom})
    )


def test_a_run_goes_on_with_either_spelling():
    assert fingerprint(OLD) == fingerprint(NEW)
    assert fingerprint('fgclip2_det') == fingerprint(NEW[:1])
    assert fingerprint(OLD) != fingerprint(OLD[:2])
    assert config_fingerprint(Config({'model': None}))['custom_imports'] is None
