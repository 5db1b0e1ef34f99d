"""The `Nudger` of a command. Models are converted here first if they need it, with a progress bar."""

from pathlib import Path
from typing import get_args

from nudging._extras import required_packages
from nudging.answer import Author
from nudging.cli.console import conversion_progress
from nudging.cli.options import NudgerOptions
from nudging.errors import SettingsError
from nudging.nudger import Nudger


def make_nudger(options: NudgerOptions) -> Nudger:
    """Return the `Nudger` of these options. A model that is not given is the demo pair's.

    Raises:
        SettingsError: A value is out of range, or options do not fit together.
        ModelNotFoundError: There is no such GGUF file, or the demo models are not installed.
    """
    models = {author: options[f"{author}_model"] for author in get_args(Author)}
    names = {f"{author}_model": model if model is not None else "demo" for author, model in models.items()}
    Nudger(**options | names)  # reports wrong options before anything slow
    for author, model in models.items():
        if options[f"{author}_url"] is not None and model is None:
            raise SettingsError(f"--{author}-url needs --{author}-model, the server's name for the model")
    demo = _demo_pair() if None in models.values() else {}
    for author, model in models.items():
        if model is None:
            names[f"{author}_model"] = demo[author]
        elif options[f"{author}_url"] is None:
            names[f"{author}_model"] = converted_model(model)
    return Nudger(**options | names)


def converted_model(model: str) -> str:
    """Return the folder to which a GGUF file is converted. Any other model is returned as it is."""
    if not model.endswith(".gguf"):
        return model
    with required_packages("a GGUF file", extra="transformers"):
        from nudging.models.local.gguf import converted

    with conversion_progress(stages=3) as progress:
        return str(converted(Path(model).expanduser(), progress))


def _demo_pair() -> dict[str, str]:
    with required_packages("the demo pair", extra="transformers"):
        from nudging.models.demo import demo_pair

    with conversion_progress(stages=8) as progress:
        base, nudging = demo_pair(progress)
    return {"base": str(base), "nudging": str(nudging)}
