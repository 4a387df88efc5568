"""MMEngine hooks; importing this package registers them."""

from importlib import import_module
from pkgutil import iter_modules

# one registered class per file: whatever lies here is a hook
for _module in iter_modules(__path__):
    import_module(f'{__name__}.{_module.name}')
