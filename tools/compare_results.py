"""Put two result files side by side, and say whether their numbers may be compared
at all."""

from _cli import run

if __name__ == '__main__':
    run('compare_results')
