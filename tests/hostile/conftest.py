"""Profiles of the fuzz tests: a few fixed examples, or many (``long``)."""

from importlib.util import find_spec

if find_spec('hypothesis') is not None:
    from hypothesis import HealthCheck, settings

    _ANY = dict(deadline=None, suppress_health_check=list(HealthCheck), database=None)
    settings.register_profile('short', max_examples=15, derandomize=True, **_ANY)
    settings.register_profile('long', max_examples=5000, **_ANY)
    settings.load_profile('short')
