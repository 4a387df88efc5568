"""Ablate the losses of stage 2 on OVShapes: train without each of them in turn."""

from _cli import run

if __name__ == '__main__':
    run('ablate_pretrain')
