"""Checks which mm packages are installed, without importing them."""

import warnings
from importlib import import_module, metadata
from importlib.util import find_spec

# package: distributions that install it, the recommended one first
OWNERS = {
    'mmengine': ('onedl-mmengine', 'mmengine', 'mmengine-lite'),
    'mmcv': ('onedl-mmcv', 'mmcv', 'mmcv-full', 'mmcv-lite'),
    'mmdet': ('onedl-mmdetection', 'mmdet'),
}
INSTALL = 'pip install "fgclip2_det[mm]"'


def has_mm_packages() -> bool:
    """Whether mmengine, mmcv and mmdet are installed, once each.

    Returns False after a warning if mmdet is not installed: the encoder works
    without it.

    Raises:
        ImportError: if mmdet lacks a dependency, or two distributions install the
            same package.
    """
    owners = {
        folder: [name for name in names if is_installed(name)]
        for folder, names in OWNERS.items()
    }
    for folder, names in owners.items():
        if len(names) > 1:
            raise ImportError(
                f'{" and ".join(names)} are both installed and own the same folder '
                f'{folder}/; run `pip uninstall {" ".join(names)}`, then install one '
                f'of them, for example by `{INSTALL}`'
            )
    missing = [folder for folder in OWNERS if find_spec(folder) is None]
    broken = [name for folder in missing for name in owners[folder]]
    if broken:
        raise ImportError(
            f'{", ".join(broken)} is installed but its files are gone; run '
            f'`pip install --force-reinstall --no-deps {" ".join(broken)}`'
        )
    if len(missing) == len(OWNERS):
        _warn('mmengine, mmcv and mmdet are not installed', INSTALL)
        return False
    if 'mmdet' in missing:
        wanted = ' '.join(_family(owners)[name] for name in missing)
        verb = 'is' if len(missing) == 1 else 'are'
        _warn(f'{" and ".join(missing)} {verb} not installed', f'pip install {wanted}')
        return False
    if missing:
        raise ImportError(
            f'{", ".join(missing)} is missing while other mm packages are installed; '
            f'run `pip install {" ".join(_family(owners)[name] for name in missing)}`'
        )
    return True


def _warn(what: str, command: str) -> None:
    warnings.warn(
        f'{what}, so only the encoder, its evaluation and the metrics work; '
        f'`{command}` adds detection',
        stacklevel=4,
    )


def check_cv2() -> None:
    """Check that OpenCV, which mmcv needs, can be imported.

    Raises:
        ImportError: if cv2 is missing, or needs the libraries of a graphical desktop.
    """
    try:
        import_module('cv2')
    except ImportError as error:
        raise ImportError(
            f'OpenCV cannot be imported ({error}); run `pip install '
            f'--force-reinstall --no-deps opencv-python-headless`'
        ) from error


def is_installed(distribution: str) -> bool:
    """Whether pip lists ``distribution``, whatever its import name."""
    try:
        metadata.distribution(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


def _family(owners: dict[str, list[str]]) -> dict[str, str]:
    """Distribution to install for each package, of the family already installed."""
    installed = {name for names in owners.values() for name in names}
    if installed and not any(name.startswith('onedl-') for name in installed):
        return {'mmengine': 'mmengine', 'mmcv': 'mmcv-lite==2.1.0', 'mmdet': 'mmdet'}
    return {folder: names[0] for folder, names in OWNERS.items()}
