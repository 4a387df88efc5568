"""Cost of the encoder by size and resolution: parameters, FLOPs, memory."""

from _cli import run

if __name__ == '__main__':
    run('model_cost')
