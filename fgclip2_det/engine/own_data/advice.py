"""What was measured on own data, in words; docs/own_data.md has the table."""

from __future__ import annotations

from typing import NamedTuple

PAGE = 'docs/own_data.md'
STEPS = 150
BOXES = 34  # of the retention test


class Measured(NamedTuple):
    """AP50 on photographs of chess, and on the names that were known before.

    Attributes:
        base: AP50 of trained names.
        encoder: top-1 of the encoder on OVShapes' novel names.
        shapes: AP50 of the detector on OVShapes' novel names.
    """

    base: float
    encoder: float
    shapes: float


# rounded from docs/results/own_data.json, which a test compares
START = Measured(0.018, 94.1, 0.908)
# (images, encoder, with replay)
ROWS = {
    (50, 'frozen', False): Measured(0.493, 94.1, 0.582),
    (50, 'frozen', True): Measured(0.352, 94.1, 0.898),
    (50, 'lora', False): Measured(0.504, 91.2, 0.542),
    (50, 'lora', True): Measured(0.296, 91.2, 0.879),
    (150, 'frozen', False): Measured(0.543, 94.1, 0.559),
    (150, 'frozen', True): Measured(0.366, 94.1, 0.831),
    (150, 'lora', False): Measured(0.584, 91.2, 0.545),
    (150, 'lora', True): Measured(0.285, 91.2, 0.836),
}


def advice(images: int, lora: bool, replay: int) -> list[str]:
    """Sentences on what was chosen, for a terminal.

    Args:
        images: training images with boxes.
        lora: whether adapters are trained in the encoder.
        replay: images of OVShapes in the training.
    """
    count = min((50, 150), key=lambda each: abs(each - images))
    train = 'lora' if lora else 'frozen'
    without, with_replay = ROWS[count, train, False], ROWS[count, train, True]
    frozen, adapted = ROWS[count, 'frozen', False], ROWS[count, 'lora', False]
    few, more = ROWS[50, train, False], ROWS[150, train, False]
    lost = round((START.encoder - adapted.encoder) / 100 * BOXES)
    lines = [
        f'measured on {count} photographs with the embedded detector, {STEPS} steps; '
        f'the table is in {PAGE}',
        f'images: 150 instead of 50 at equal steps: AP50 of trained names '
        f'{few.base:.2f} -> {more.base:.2f}',
        f'encoder: frozen {frozen.base:.2f}, LoRA {adapted.base:.2f}; the encoder with '
        f'LoRA gets {lost} of {BOXES} boxes wrong that it knew',
    ]
    if replay:
        lines.append(
            f'replay keeps what the detector knew: {with_replay.shapes:.2f} on its old '
            f'novel names, {without.shapes:.2f} without; trained names '
            f'{with_replay.base:.2f} instead of {without.base:.2f} in the same steps'
        )
    else:
        lines.append(
            f'without replay the detector forgets: AP50 of its old novel names '
            f'{START.shapes:.2f} -> {without.shapes:.2f}, with --replay '
            f'{with_replay.shapes:.2f}'
        )
    return lines
