"""Evaluate an FG-CLIP 2 encoder on public benchmarks: box classification, grounding of
descriptions, retrieval, ImageNet, segmentation."""

from _cli import run

if __name__ == '__main__':
    run('benchmark')
