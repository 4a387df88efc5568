"""The registry's scope, as a runner would set it."""

import pytest
from mmengine.registry import init_default_scope

import fgclip2_det.datasets  # noqa: F401, registers the classes


@pytest.fixture(autouse=True)
def mmdet_scope() -> None:
    init_default_scope('mmdet')
