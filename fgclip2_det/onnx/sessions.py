"""Sessions of onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fgclip2_det.io import InputError

CPU = ('CPUExecutionProvider',)


class Session:
    """A graph that is ready to run.

    Args:
        path: of the .onnx file.
        threads: of one operator; None for one a core.
        providers: of onnxruntime, the preferred one first.

    Raises:
        InputError: without onnxruntime, for a provider that it lacks, or a file that it
            cannot load.
    """

    def __init__(
        self, path: Path, threads: int | None = None, providers: Sequence[str] = CPU
    ) -> None:
        ort = import_onnxruntime()
        known = ort.get_available_providers()
        unknown = [name for name in providers if name not in known]
        if unknown:
            raise InputError(
                f'this onnxruntime has no {unknown[0]}; it has {", ".join(known)}: '
                'install the package with it, or name one of these'
            )
        options = ort.SessionOptions()
        options.log_severity_level = 3  # errors; it warns of its own optimisations
        if threads is not None:
            options.intra_op_num_threads = threads
        try:
            self._session = ort.InferenceSession(
                str(path), options, providers=list(providers)
            )
        except Exception as error:  # its classes have no common base of their own
            raise InputError(
                f'{path} cannot be loaded by onnxruntime {ort.__version__} '
                f'({_first_line(error)}); install a newer one, or export it again with '
                'a lower --opset'
            ) from error
        self.inputs = [each.name for each in self._session.get_inputs()]

    def __call__(self, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """All outputs, in their order; inputs that the graph does not have are left
        out."""
        own = {name: feeds[name] for name in self.inputs}
        return self._session.run(None, own)


def import_onnxruntime() -> Any:
    """The package; InputError without it."""
    try:
        import onnxruntime  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise InputError(
            'onnxruntime is not installed, which runs exported models; '
            "pip install 'fgclip2_det[onnx]'"
        ) from error
    return onnxruntime


def _first_line(error: Exception) -> str:
    return str(error).strip().split('\n')[0][:300]
