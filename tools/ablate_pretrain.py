"""Train stage 2 without each of its losses, on OVShapes, to see what each is good
for."""

from _cli import run

if __name__ == '__main__':
    run('ablate_pretrain')
