"""``python -m fgclip2_det.cli`` is ``fgclip2-det``."""

from fgclip2_det.cli import main

if __name__ == '__main__':
    main()
