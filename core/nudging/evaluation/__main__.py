"""lm-evaluation-harness's own command, with the model `nudging` and the tasks `nudging_...` known by name:

python -m nudging.evaluation --model nudging --model_args base_model=...,nudging_model=... --tasks nudging_gsm8k
"""

import sys
from pathlib import Path

TASKS = Path(__file__).parent / "tasks"


def main() -> None:
    """Run lm_eval with this command's arguments."""
    try:
        from lm_eval.__main__ import cli_evaluate
    except ImportError as error:
        sys.exit(f"python -m nudging.evaluation needs the package {error.name}: pip install 'nudging[eval]'")
    import nudging.evaluation.documents  # noqa: F401 (it registers the model)
    from nudging.errors import NudgingError

    given = {argument.split("=")[0] for argument in sys.argv}
    if given & {"--tasks", "-t"} and "--include_path" not in given:
        sys.argv += ["--include_path", str(TASKS)]
    try:
        cli_evaluate()
    except NudgingError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
