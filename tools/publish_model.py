"""Publish a model: the part of a checkpoint that inference needs."""

from _cli import run

if __name__ == '__main__':
    run('publish_model')
