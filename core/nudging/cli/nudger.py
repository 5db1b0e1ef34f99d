"""The `Nudger` of a command. Models are converted here first if they need it, with a progress bar."""

from typing import get_args

from nudging._extras import required_packages
from nudging.answer import Author
from nudging.cli.console import conversion_progress
from nudging.cli.options import NudgerOptions
from nudging.errors import SettingsError
from nudging.models.config import Backend, backend_of
from nudging.models.gguf_files import gguf_file, is_gguf
from nudging.nudger import Nudger
from nudging.settings import Settings


def make_nudger(options: NudgerOptions) -> Nudger:
    """Return the `Nudger` of these options. A model that is not given is the demo pair's.

    Raises:
        SettingsError: A value is out of range, or options do not fit together.
        ModelNotFoundError: There is no such GGUF file, or the demo models are not installed.
    """
    threshold = settings_of(options).threshold  # a converted model may no longer have the name of its family
    models = {author: options[f"{author}_model"] for author in get_args(Author)}
    names: dict[str, str] = {}
    for author, model in models.items():
        if options[f"{author}_url"] is not None and model is None:
            raise SettingsError(f"--{author}-url needs --{author}-model, the server's name for the model")
    for author, model in models.items():
        if model is None:
            names[f"{author}_model"] = _demo_model(author, options[f"{author}_backend"])
        elif options[f"{author}_url"] is None:
            names[f"{author}_model"] = converted_model(model, options[f"{author}_backend"])
    return Nudger(**options | names | {"threshold": threshold})


def settings_of(options: NudgerOptions) -> Settings:
    """Return the settings of these options, checked before anything slow.

    Raises:
        SettingsError: A value is out of range, or options do not fit together.
    """
    models = {f"{author}_model": options[f"{author}_model"] for author in get_args(Author)}
    backends = {f"{author}_model": options[f"{author}_backend"] for author in get_args(Author)}
    names = {name: model or _demo_name(backends[name]) for name, model in models.items()}
    return Nudger(**options | names).settings


def converted_model(model: str, backend: Backend | None = None) -> str:
    """Return the folder to which a GGUF file is converted for transformers. Any other model is returned as it is."""
    if not is_gguf(model) or backend_of(model, None, backend) != "transformers":
        return model
    with required_packages("a GGUF file", extra="llamacpp"):
        from nudging.models.local.gguf import converted

    with conversion_progress(stages=3) as progress:
        return str(converted(gguf_file(model), progress))


def _demo_name(backend: Backend | None) -> str:
    """Return a name of the kind that a demo model has."""
    with required_packages("the demo pair", extra="llamacpp"):
        from nudging.models.demo import demo_backend
    return "demo.gguf" if demo_backend(backend) == "llamacpp" else "demo"


def _demo_model(author: Author, backend: Backend | None) -> str:
    with required_packages("the demo pair", extra="llamacpp"):
        from nudging.models.demo import demo_model

    with conversion_progress(stages=4) as progress:
        return str(demo_model(author, progress, backend))
