"""Measure an FG-CLIP 2 encoder on one data set: naming boxes, hard negatives,
retrieval."""

from _cli import run

if __name__ == '__main__':
    run('zeroshot')
