"""`python -m mediaflow` is the same as `mediaflow`."""

from mediaflow.cli.app import main

if __name__ == "__main__":
    main()
