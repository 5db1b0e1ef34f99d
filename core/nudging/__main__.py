"""The `nudging` command, and `python -m nudging`."""

import sys


def main() -> None:
    """Run the command, or exit with a message if a package of the extra `cli` is missing."""
    try:
        from nudging.cli import app
    except ImportError as error:
        sys.exit(f"the nudging command needs the package {error.name}: pip install 'nudging[cli]'")
    app(prog_name="nudging")


if __name__ == "__main__":
    main()
