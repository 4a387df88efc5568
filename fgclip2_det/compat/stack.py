"""Which mm packages are installed, found out without importing them."""

import warnings
from importlib import metadata
from importlib.util import find_spec

# folder: distributions that own it; the first is the one we recommend
OWNERS = {
    'mmengine': ('onedl-mmengine', 'mmengine', 'mmengine-lite'),
    'mmcv': ('onedl-mmcv', 'mmcv', 'mmcv-full', 'mmcv-lite'),
    'mmdet': ('onedl-mmdetection', 'mmdet'),
}
INSTALL = 'pip install "fgclip2_det[mm]"'


def has_mm_packages() -> bool:
    """True when mmengine, mmcv and mmdet are installed once each.

    Returns False after a warning when there is no mmdet: nobody asks for detection
    then, and the encoder needs none of them.

    Raises:
        ImportError: mmdet lacks what it needs, or two distributions own one folder.
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
    """mmcv needs OpenCV.

    Raises:
        ImportError: cv2 is missing, or was built for a machine with a screen.
    """
    try:
        import cv2  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f'OpenCV cannot be imported ({error}); run `pip install '
            f'--force-reinstall --no-deps opencv-python-headless`'
        ) from error


def is_installed(distribution: str) -> bool:
    """Whether pip knows ``distribution``, whatever its folder is called."""
    try:
        metadata.distribution(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


def _family(owners: dict[str, list[str]]) -> dict[str, str]:
    """Distribution to install per folder, of the family that is there already."""
    installed = {name for names in owners.values() for name in names}
    if installed and not any(name.startswith('onedl-') for name in installed):
        return {'mmengine': 'mmengine', 'mmcv': 'mmcv-lite==2.1.0', 'mmdet': 'mmdet'}
    return {folder: names[0] for folder, names in OWNERS.items()}
