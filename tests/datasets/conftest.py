"""The registry's scope, as a runner would set it."""

import pytest
from mmengine.registry import init_default_scope

import fgclip2_det.registration


@pytest.fixture(autouse=True)
def mmdet_scope() -> None:
    init_default_scope('mmdet')
