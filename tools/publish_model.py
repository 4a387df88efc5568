"""Write the part of a checkpoint that predicting needs, to hand on."""

from _cli import run

if __name__ == '__main__':
    run('publish_model')
