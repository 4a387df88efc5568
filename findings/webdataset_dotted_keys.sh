#!/usr/bin/env bash
# webdataset 1.0.2: samples whose keys hold a dot are written as they are and read as one sample with other fields.
#
# One would guess that what ShardWriter accepts, WebDataset reads back: four samples 'img.0001' to 'img.0004', as cameras and video
# tools name files, with a picture and a record each. Seen: one sample 'img' of eight fields, '0001.jpg' and so on; nothing is
# raised or warned of when they are written or read, and to_tuple('jpg', 'json') then says that the sample has no 'jpg'. The key
# ends at the first dot of the name, not at the last.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q webdataset==1.0.2 numpy==2.2.6 pillow==13.0.0
cd "$folder"
"$folder/env/bin/python" -W error::UserWarning - <<'PYTHON'
from importlib.metadata import version

import numpy as np
import webdataset as wds

print('webdataset', version('webdataset'))
pixels = np.zeros((8, 8, 3), np.uint8)


def round_trip(keys):
    with wds.ShardWriter('shard-%06d.tar', verbose=0) as writer:
        for key in keys:
            writer.write({'__key__': key, 'jpg': pixels, 'json': {'key': key}})
    samples = list(wds.WebDataset('shard-000000.tar', shardshuffle=False))
    return [(s['__key__'], sorted(f for f in s if f[0] != '_')) for s in samples]


plain = round_trip(['img_0001', 'img_0002', 'img_0003', 'img_0004'])
print('without dots:', plain)
assert plain == [(f'img_000{i}', ['jpg', 'json']) for i in range(1, 5)]
dotted = round_trip(['img.0001', 'img.0002', 'img.0003', 'img.0004'])
print('with dots:', dotted)
fields = [f'000{i}.{ending}' for i in range(1, 5) for ending in ('jpg', 'json')]
assert dotted == [('img', fields)]
try:
    list(wds.WebDataset('shard-000000.tar', shardshuffle=False).to_tuple('jpg', 'json'))
except ValueError as error:
    print('to_tuple:', str(error)[:60])
else:
    raise AssertionError('to_tuple found a picture')
PYTHON
echo 'as described'
