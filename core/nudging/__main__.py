"""The `nudging` command, and `python -m nudging`."""

import sys


def main() -> None:
    """Run the command, if what it needs is installed."""
    try:
        from nudging.cli import app
    except ImportError as error:
        sys.exit(f"the nudging command needs the package {error.name}: pip install 'nudging[cli]'")
    app(prog_name="nudging")


if __name__ == "__main__":
    main()
