"""`python -m bulkedit` and the console script."""

from bulkedit.cli.app import app

if __name__ == "__main__":
    app()
