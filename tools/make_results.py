"""Record results and write them into README and docs."""

import sys
from pathlib import Path

if __name__ == '__main__':
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from benchmarks.make_results import main

    sys.exit(main())
