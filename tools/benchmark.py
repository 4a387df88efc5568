"""Measure an FG-CLIP 2 encoder on the benchmarks of the field: naming boxes, finding
described objects, retrieval, ImageNet, segmentation."""

from _cli import run

if __name__ == '__main__':
    run('benchmark')
