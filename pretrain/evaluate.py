"""Evaluate an encoder: ``python -m pretrain.evaluate --checkpoint DIR --out M.json``.

The name that docs and scripts know; ``fgclip2-det zeroshot`` and ``tools/zeroshot.py``
are the same command.
"""

from fgclip2_det.cli import run

if __name__ == '__main__':
    run('zeroshot', prog='python -m pretrain.evaluate')
