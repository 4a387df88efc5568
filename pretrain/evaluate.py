"""Evaluate an encoder: ``python -m pretrain.evaluate --checkpoint DIR --out M.json``.

The command line of ``fgclip2_det.zeroshot``.
"""

import sys

from fgclip2_det.zeroshot.evaluate import main

if __name__ == '__main__':
    sys.exit(main())
