"""Optional dependencies: imports that an extra of the package makes possible."""

from collections.abc import Iterator
from contextlib import contextmanager

from nudging.errors import MissingDependencyError


@contextmanager
def required_packages(feature: str, extra: str) -> Iterator[None]:
    """Raise an error that says what to install if an import inside the block fails.

    Args:
        feature: What needs the import, for the message.
        extra: The extra that brings its package.

    Raises:
        MissingDependencyError: A package is not installed, or too old for another one.
    """
    try:
        yield
    except MissingDependencyError:
        raise
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"{feature} needs the package {error.name}: pip install 'nudging[{extra}]'"
        ) from error
    except ImportError as error:
        raise MissingDependencyError(
            f"{feature} needs other versions of its packages ({error}): pip install --upgrade 'nudging[{extra}]'"
        ) from error
