"""`nudging serve`: the pair behind OpenAI's API."""

from typing import Annotated

import typer

from nudging._extras import required_packages
from nudging.cli.console import err, loading, reported_errors
from nudging.cli.nudger import make_nudger
from nudging.cli.options import NudgerOptions, nudger_options
from nudging.settings import SURE_END

SHUTDOWN = 120
"""Seconds that running answers have to finish when the server is told to stop."""


@nudger_options(end=SURE_END)
def serve(
    options: NudgerOptions,
    name: Annotated[str, typer.Option(help="Name of the pair in the API")] = "nudged",
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all addresses")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on", min=0, max=65535)] = 8080,
    api_key: Annotated[
        str | None, typer.Option(envvar="NUDGING_API_KEY", help="API key that clients must send; default none")
    ] = None,
    at_once: Annotated[int, typer.Option(help="Maximum number of answers generated at the same time", min=1)] = 16,
    queue: Annotated[int, typer.Option(help="Maximum number of requests that wait", min=0)] = 64,
    max_body: Annotated[int, typer.Option(help="Maximum size of a request, in bytes", min=1)] = 1 << 20,
    max_prompt_tokens: Annotated[
        int | None,
        typer.Option(help="Maximum length of a prompt, in base-model tokens; default the models' contexts", min=1),
    ] = None,
) -> None:
    """Serve the pair through OpenAI's API, with a chat page at /."""
    with reported_errors():
        with required_packages("nudging serve", extra="server"):
            import uvicorn

            from nudging import serving
        nudger = make_nudger(options)
        with loading(nudger):
            nudger.load()
        limits = serving.Limits(at_once=at_once, queue=queue, body=max_body, prompt_tokens=max_prompt_tokens)
        server = serving.create_app(nudger, name=name, limits=limits, api_key=api_key)
        err.print(f"serving {nudger.name} as {name!r} at http://{host}:{port}", markup=False)
        uvicorn.run(server, host=host, port=port, log_level="warning", timeout_graceful_shutdown=SHUTDOWN)
