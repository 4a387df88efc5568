"""Compare two result files, and say whether their numbers are comparable at all."""

from _cli import run

if __name__ == '__main__':
    run('compare_results')
