"""Re-score a detector's saved results with FG-CLIP 2, without training."""

from _cli import run

if __name__ == '__main__':
    run('rescore')
