"""Names of a package that are imported when they are used (PEP 562)."""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec


def lazy_names(package: str, modules: Mapping[str, str]) -> Callable[[str], object]:
    """A package's ``__getattr__``.

    Args:
        package: its ``__name__``.
        modules: name -> module that holds it; a module that ends in the name itself is
            the value.

    Example:
        >>> __getattr__ = lazy_names(__name__, {'Vocabulary': 'fgclip2_det.vocabulary'})
    """

    def __getattr__(name: str) -> object:
        if name not in modules:
            raise AttributeError(f'module {package!r} has no attribute {name!r}')
        module = import_module(modules[name])
        is_module = modules[name].rpartition('.')[2] == name
        value = module if is_module else getattr(module, name)
        setattr(sys.modules[package], name, value)
        return value

    return __getattr__


def in_mmengine() -> bool:
    """Whether MMEngine is in use in this process, and MMDetection installed.

    ``custom_imports`` of a config is read then, and may name a package alone.
    """
    return 'mmengine' in sys.modules and find_spec('mmdet') is not None
