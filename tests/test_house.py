"""The packages that an import loads, and the public names."""

import subprocess
import sys
from importlib import import_module

import nudging
import pytest
from nudging._extras import required_packages

import langchain_nudging
import llamaindex_nudging


def imported_with(statement: str) -> set[str]:
    code = f"{statement}; import sys; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        (
            "import nudging",
            {"torch", "transformers", "matplotlib", "langchain_core", "llama_index", "rich", "typer", "lm_eval"},
        ),
        ("from nudging import Nudger; Nudger('a', 'b').identity", {"torch", "transformers"}),
        ("import langchain_nudging", {"torch", "transformers", "llama_index", "typer"}),
        (
            "from langchain_nudging import ChatNudging as C; C(base_model='a', nudging_model='b')._identifying_params",
            {"torch"},
        ),
        ("import llamaindex_nudging", {"torch", "langchain_core", "typer"}),
        ("import nudging.cli", {"torch", "transformers", "lm_eval", "datasets", "matplotlib"}),
        (
            "import nudging.evaluation.baselines, nudging.evaluation.disagreement",
            {"torch", "transformers", "matplotlib", "rich"},
        ),
        ("import nudging.evaluation.scoring", {"torch", "transformers", "lm_eval", "datasets"}),
        ("import nudging.rules", {"torch", "transformers"}),
    ],
)
def test_an_import_loads_no_package_that_it_does_not_need(statement: str, absent: set[str]) -> None:
    assert not imported_with(statement) & absent


def test_the_error_for_a_missing_package_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from nudging import MissingDependencyError, Nudger\n"
        "try: Nudger('a', 'b').generate('Hi')\n"
        "except MissingDependencyError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert "needs the package torch: pip install 'nudging[transformers]'" in done.stdout


def test_the_error_for_a_package_that_is_too_old_has_its_message() -> None:
    message = r"it is too old.*pip install --upgrade 'nudging\[eval\]'"
    with pytest.raises(nudging.MissingDependencyError, match=message), required_packages("nudging eval", extra="eval"):
        raise ImportError("it is too old")


@pytest.mark.parametrize("package", [nudging, langchain_nudging, llamaindex_nudging])
def test_exported_names_exist_and_are_sorted(package: object) -> None:
    names = package.__all__  # type: ignore[attr-defined]
    assert sorted(names) == names
    assert all(hasattr(package, name) for name in names)


def test_the_model_is_importable_as_an_integration_of_llamaindex() -> None:
    assert import_module("llama_index.llms.nudging").NudgingLLM is llamaindex_nudging.NudgingLLM


def test_every_error_is_a_nudging_error_and_listed_in_the_tree() -> None:
    errors = [value for value in vars(nudging.errors).values() if isinstance(value, type)]
    assert all(issubclass(error, nudging.NudgingError) for error in errors)
    assert all(error.__name__ in nudging.errors.__doc__ for error in errors)
