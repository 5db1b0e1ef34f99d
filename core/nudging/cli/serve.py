"""`nudging serve`: the pair behind OpenAI's API."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer
from rich.text import Text

from nudging._extras import required_packages
from nudging.answer import Author
from nudging.cli.console import FAILED, WRONG_USAGE, err, loading, out, reported_errors, silence_transformers
from nudging.cli.nudger import make_nudger, settings_of
from nudging.cli.options import NudgerOptions, nudger_options
from nudging.settings import SURE_END

if TYPE_CHECKING:
    from nudging.diagnosis import Finding
    from nudging.serving.check import ServerSetup

STYLES = {"note": "yellow", "fail": "bold red"}

CORS_HELP = (
    "Origin whose web pages may send requests, such as http://localhost:3000, or * for all; may be given several times"
)


@nudger_options(end=SURE_END)
def serve(
    options: NudgerOptions,
    name: Annotated[str, typer.Option(help="Name of the pair in the API")] = "nudged",
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all addresses")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 for a free one", min=0, max=65535)] = 8080,
    api_key: Annotated[
        str | None,
        typer.Option(
            envvar="NUDGING_API_KEY",
            metavar="KEY",
            show_default=False,
            help="API key that clients must send; default none",
        ),
    ] = None,
    api_keys: Annotated[
        Path | None, typer.Option(metavar="FILE", help="JSON file with API keys by name, each with its limits")
    ] = None,
    cors_origin: Annotated[list[str] | None, typer.Option(metavar="ORIGIN", help=CORS_HELP)] = None,
    at_once: Annotated[int, typer.Option(help="Maximum number of answers generated at the same time", min=1)] = 16,
    queue: Annotated[int, typer.Option(help="Maximum number of requests that wait", min=0)] = 64,
    max_body: Annotated[int, typer.Option(help="Maximum size of a request, in bytes", min=1)] = 1 << 20,
    max_prompt_tokens: Annotated[
        int | None,
        typer.Option(help="Maximum length of a prompt, in base-model tokens; default the models' contexts", min=1),
    ] = None,
    access_log: Annotated[bool, typer.Option(help="Write one line of JSON per request to stdout")] = True,
    workers: Annotated[
        int, typer.Option(help="Only 1: start several servers instead, because each process loads the models", min=1)
    ] = 1,
    check: Annotated[
        bool, typer.Option("--check", help="Print the problems of this configuration, without serving")
    ] = False,
) -> None:
    """Serve the pair through OpenAI's API, with a chat page at /."""
    with reported_errors():
        with required_packages("nudging serve", extra="server"):
            from nudging.serving.check import ServerSetup
            from nudging.serving.limits import Limits
        limits = Limits(at_once=at_once, queue=queue, body=max_body, prompt_tokens=max_prompt_tokens)
        setup = ServerSetup(host, port, workers, limits, api_key or None, api_keys, cors_origin or ())
        if check:
            _check(options, setup)
        else:
            _serve(options, setup, name, access_log)


def _check(options: NudgerOptions, setup: "ServerSetup") -> None:
    """Print all problems. The exit code is 1 if one of them prevents the server from starting."""
    with err.status("looking"):
        problems = _setup_problems(options, setup) + _model_problems(options, setup)
    for problem in problems:
        out.print(_line(problem))
    if any(problem.status == "fail" for problem in problems):
        raise typer.Exit(FAILED)
    out.print("this configuration can serve")


def _serve(options: NudgerOptions, setup: "ServerSetup", name: str, access_log: bool) -> None:
    import uvicorn

    from nudging.serving import create_app
    from nudging.serving.access_log import write_logs
    from nudging.serving.check import context_notes
    from nudging.serving.listening import SHUTDOWN, Server, address_of, listening_sockets

    _stop_at(_setup_problems(options, setup), WRONG_USAGE)
    settings_of(options)
    served = [author for author in get_args(Author) if options[f"{author}_url"] is not None]
    if not served:  # loading waits for a server that is still starting; a check does not
        estimate = "together"
        _stop_at([one for one in _model_problems(options, setup) if one.name != estimate], FAILED)
    sockets = listening_sockets(setup.host, setup.port)
    nudger = make_nudger(options)
    for author in served:  # before the weights of the other model
        (nudger.base_model if author == "base" else nudger.nudging_model).load()
    with loading(nudger):
        nudger.load()
    if served:
        _stop_at(list(context_notes(setup.limits, nudger.context_length, nudger.settings.max_tokens)), WRONG_USAGE)
    app = create_app(nudger, name=name, limits=setup.limits, api_keys=setup.keys(), cors_origins=setup.cors_origins)
    write_logs(access=access_log)
    server = Server(uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=SHUTDOWN))
    address = address_of(setup.host, sockets[0].getsockname()[1])
    err.print(f"serving {nudger.name} as {name!r} at http://{address}", markup=False, soft_wrap=True)
    with suppress(KeyboardInterrupt):  # after all answers have finished
        server.run(sockets=sockets)


def _setup_problems(options: NudgerOptions, setup: "ServerSetup") -> "list[Finding]":
    from nudging.diagnosis import secrets_of
    from nudging.serving.check import check_setup

    return [problem.without(secrets_of(options)) for problem in check_setup(setup)]


def _model_problems(options: NudgerOptions, setup: "ServerSetup") -> "list[Finding]":
    from nudging.diagnosis import secrets_of
    from nudging.serving.check import check_models

    silence_transformers()
    problems = check_models(options, setup.limits, options["max_tokens"])
    return [problem.without(secrets_of(options)) for problem in problems]


def _stop_at(problems: "Sequence[Finding]", code: int) -> None:
    """Print the problems, and exit with the code if one of them prevents the server from starting."""
    for problem in problems:
        err.print(_line(problem), soft_wrap=True)
    if any(problem.status == "fail" for problem in problems):
        raise typer.Exit(code)


def _line(problem: "Finding") -> Text:
    return Text.assemble(
        (f"{problem.status}  ", STYLES[problem.status]), (f"{problem.name.strip()}: ", "bold"), problem.text
    )
