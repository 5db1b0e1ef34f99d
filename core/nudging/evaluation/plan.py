"""The plan of an evaluation: tasks, methods, thresholds and limits, checked before a model is loaded."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nudging.errors import SettingsError
from nudging.evaluation.documents import TASKS
from nudging.evaluation.methods import METHODS, check_method, did_you_mean
from nudging.evaluation.results import RunConfig
from nudging.settings import Settings

PREFIX = "nudging_"
"""Prefix of our tasks in lm-evaluation-harness, which has its own tasks of the same names."""

DEFAULT_METHODS = ("base", "nudging", "nudged")


@dataclass(frozen=True)
class Plan:
    """A checked plan.

    Args:
        tasks: The names of the tasks, in the order of the table.
        run_configs: The methods and thresholds.
        data: Folder of local files. None loads the data sets from the hub.
        limit: Maximum number of questions per task. None for all.
        max_tokens: Maximum length of an answer, in base-model tokens.
        at_once: Number of answers that are generated at the same time.
    """

    tasks: tuple[str, ...]
    run_configs: tuple[RunConfig, ...]
    data: Path | None = None
    limit: int | None = None
    max_tokens: int = 256
    at_once: int = 1

    @classmethod
    def checked(
        cls,
        tasks: Sequence[str] | None = None,
        methods: Sequence[str] = DEFAULT_METHODS,
        thresholds: Sequence[float] = (0.4,),
        *,
        data: Path | None = None,
        limit: int | None = None,
        max_tokens: int = 256,
        at_once: int = 1,
    ) -> "Plan":
        """Return a plan that can be run, as far as this is known without a model.

        Args:
            tasks: The names of the tasks. None for all thirteen, or for those with a local file.
            methods: The names of the methods.
            thresholds: The thresholds of nudging, each in [0, 1].
            data: Folder with a file `<task>.jsonl` for each task. None loads from the hub.
            limit: Maximum number of questions per task.
            max_tokens: Maximum length of an answer, in base-model tokens. A model that answers alone counts its own.
            at_once: Number of answers that are generated at the same time.

        Raises:
            SettingsError: A name is unknown, a list is empty, or a number is out of range.
            DataError: A local file is missing or malformed.
        """
        names = _task_names(tasks, data)
        if not methods:
            raise SettingsError(f"there are no methods to compare: choose from {', '.join(METHODS)}")
        if "nudged" in methods and not thresholds:
            raise SettingsError("thresholds are empty: give at least one number in [0, 1], such as 0.4")
        for name, value in (("limit", limit), ("at_once", at_once)):
            if value is not None and value < 1:
                raise SettingsError(f"{name}={value}: give a number of 1 or more")
        for threshold in thresholds:
            Settings.checked({"threshold": threshold, "max_tokens": max_tokens})
        if data is not None:
            for task in names:
                TASKS[task](data=str(data))
        return cls(names, _run_configs(methods, thresholds), data, limit, max_tokens, at_once)


def _run_configs(methods: Sequence[str], thresholds: Sequence[float]) -> tuple[RunConfig, ...]:
    """Return each method once, and nudging once per threshold."""
    return tuple(
        RunConfig(method, threshold)
        for method in dict.fromkeys(map(check_method, methods))
        for threshold in (dict.fromkeys(thresholds) if method == "nudged" else [None])
    )


def _task_names(tasks: Sequence[str] | None, data: Path | None) -> tuple[str, ...]:
    if tasks is None:
        found = [name for name in TASKS if data is None or (data.expanduser() / f"{name}.jsonl").is_file()]
        if not found:
            raise SettingsError(f"{data} has no file of a task: add gsm8k.jsonl, svamp.jsonl, ...")
        return tuple(found)
    names = [name.strip().removeprefix(PREFIX) for name in tasks if name.strip()]
    if not names:
        raise SettingsError(f"there are no tasks: choose from {', '.join(TASKS)}")
    for name in names:
        if name not in TASKS:
            raise SettingsError(f"there is no task {name!r}: {did_you_mean(name, TASKS)}")
    return tuple(dict.fromkeys(names))
