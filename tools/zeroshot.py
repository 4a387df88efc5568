"""Evaluate an FG-CLIP 2 encoder on one data set: box classification, hard negatives,
retrieval."""

from _cli import run

if __name__ == '__main__':
    run('zeroshot')
