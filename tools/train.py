"""Train a detector, or align an encoder, from a config."""

from _cli import run

if __name__ == '__main__':
    run('train')
