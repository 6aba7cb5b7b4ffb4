"""``python -m understudy``: the command line."""

from understudy.services.cli.main import main

if __name__ == "__main__":
    main()
