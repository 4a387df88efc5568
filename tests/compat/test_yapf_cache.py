"""yapf's cache: one that is being written is read again, a damaged one is named."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip('yapf', reason='comes with MMEngine')

IMPORT = 'from fgclip2_det.compat.yapf_cache import import_yapf; import_yapf({})'
# the import goes on once the file is whole, which another process sees to
MENDED = """
import threading, time
from pathlib import Path
from fgclip2_det.compat import yapf_cache

def mend(seconds):
    Path({path!r}).write_bytes({content!r})
    sleep(seconds)

sleep, yapf_cache.time.sleep = time.sleep, mend
yapf_cache.import_yapf()
import yapf
print(yapf.__version__)
"""


def run(code: str, cache: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, '-c', code],
        env=os.environ | {'XDG_CACHE_HOME': str(cache)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.skipif(sys.platform != 'linux', reason='the cache folder of Linux')
@pytest.mark.parametrize('share', [0, 0.5])
def test_a_cache_that_is_not_whole(tmp_path, share):
    assert run(IMPORT.format(''), tmp_path).returncode == 0
    for path in sorted(tmp_path.rglob('*.pickle')):
        content = path.read_bytes()
        path.write_bytes(content[: int(share * len(content))])
        later = path.stat().st_mtime + 10**6  # newer than the installed grammar
        os.utime(path, (later, later))
        damaged = run(IMPORT.format(2), tmp_path)
        assert damaged.returncode == 1
        assert f'remove the folder {tmp_path / "YAPF"}' in damaged.stderr
        mended = run(MENDED.format(path=str(path), content=content), tmp_path)
        assert mended.returncode == 0, mended.stderr
        assert mended.stdout.strip()
