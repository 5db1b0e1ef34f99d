"""Options that are lists, written with commas."""

from nudging.errors import SettingsError


def names(text: str) -> list[str]:
    """Return the names in a text, without empty ones."""
    return [name.strip() for name in text.split(",") if name.strip()]


def numbers(option: str, text: str) -> list[float]:
    """Return the numbers in the value of an option.

    Raises:
        SettingsError: A part of it is not a number.
    """
    try:
        return [float(number) for number in names(text)]
    except ValueError:
        raise SettingsError(f"{option} {text!r}: give numbers separated by commas, such as 0.3,0.4") from None
