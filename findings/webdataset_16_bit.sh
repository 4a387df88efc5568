#!/usr/bin/env bash
# webdataset 1.0.2: its decoders read a 16-bit PNG as if every value above 255 were 255.
#
# One would guess that a picture of uint16 (depth, X-ray, thermal), which its writer stores as 16 bits, comes back from the decoders to
# RGB with its range scaled to theirs, as they scale 8 bits to 0 to 1 ('rgb'), or is refused. Seen: 1,000 and 30,000 both come
# back as 255 (1.0 with 'rgb'), without a warning.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q webdataset==1.0.2 numpy==2.2.6 pillow==13.0.0
cd "$folder"
"$folder/env/bin/python" -W error::UserWarning - <<'PYTHON'
from importlib.metadata import version
from io import BytesIO

import numpy as np
import webdataset as wds
from PIL import Image

print('webdataset', version('webdataset'), 'pillow', version('pillow'))
depth = np.array([[100, 255, 1000, 30000]], np.uint16)
with wds.TarWriter('depth.tar') as writer:
    writer.write({'__key__': 'a', 'png': depth})
(raw,) = wds.WebDataset('depth.tar', shardshuffle=False)
stored = Image.open(BytesIO(raw['png']))
print('in the shard:', stored.mode, np.asarray(stored).tolist())
assert np.array_equal(np.asarray(stored), depth)
for how, whole in (('rgb8', 255), ('rgb', 1), ('pil', 255)):
    (sample,) = wds.WebDataset('depth.tar', shardshuffle=False).decode(how)
    values = np.asarray(sample['png'])[..., 0] / whole
    print(f'decoded by {how!r}:', values.round(3).tolist())
    assert np.allclose(values, [[100 / 255, 1, 1, 1]])
PYTHON
echo 'as described'
