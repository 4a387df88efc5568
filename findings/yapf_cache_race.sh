#!/usr/bin/env bash
# yapf 0.43.0: a cache that it renames before it is written; processes that import yapf at the same time may fail.
#
# yapf keeps its grammar as pickles in the user's cache folder, and makes them anew after every installation. It writes a temporary
# file and renames it, so that nobody reads half of one, as its own comment says. Seen: the rename stands inside the block that still
# holds the file open, and the smaller of the two is empty under its final name until that block ends. Of several processes that import yapf for
# the first time after an installation, as the ranks of a training do when MMEngine's Runner prints its config, one may end with
# "EOFError: Ran out of input"; if the writer is killed there, every later import does.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q yapf==0.43.0 platformdirs==4.12.4
cd "$folder"
export XDG_CACHE_HOME="$folder/cache"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import os
from importlib.metadata import version
from pathlib import Path

rename, sizes = os.rename, {}


def watch(source, target):
    rename(source, target)
    sizes[target] = os.path.getsize(target)


os.rename = watch
import yapf

os.rename = rename
print('yapf', version('yapf'))
ends = {path: os.path.getsize(path) for path in sizes}
for path, size in sizes.items():
    print(f'{Path(path).name.split("-")[0]}: {size} bytes once it is renamed, {ends[path]} in the end')
early = [Path(path).name for path, size in sizes.items() if size < ends[path]]
assert len(sizes) == 2 and any(name.startswith('PatternGrammar') for name in early), sizes
PYTHON
