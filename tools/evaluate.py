"""Evaluate a COCO result list under the protocol of a benchmark."""

from _cli import run

if __name__ == '__main__':
    run('evaluate')
