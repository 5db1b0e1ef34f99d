"""The `nudging` command: ask one question, or chat, and see who wrote what; serve a pair; look into it; evaluate it."""

import json
import os
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from nudging.answer import Answer
from nudging.display import as_rich
from nudging.errors import MissingDependencyError, NudgingError, PromptError, SettingsError
from nudging.nudger import Nudger

if TYPE_CHECKING:
    from nudging.evaluation.disagreement import Exemplar

SYSTEM = "You are a helpful assistant."

FAILED, WRONG_USAGE, INTERRUPTED = 1, 2, 130
"""Exit codes."""

SHUTDOWN = 120
"""Seconds that answers have to be finished when the server is told to stop."""

app = typer.Typer(
    help="Let a base language model answer, nudged by a small aligned one.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)
out, err = Console(highlight=False, soft_wrap=True), Console(stderr=True, highlight=False)

BaseModel = Annotated[
    str | None, typer.Option(help="Hub id, folder or GGUF file of the base model.", show_default="the demo's")
]
NudgingModel = Annotated[
    str | None, typer.Option(help="The same of the small aligned model.", show_default="the demo's")
]
Threshold = Annotated[float, typer.Option(help="The base model writes while its top-1 probability is at least this.")]
MaxTokens = Annotated[int, typer.Option(help="Length of an answer, in base-model tokens.")]
System = Annotated[str, typer.Option(help="What both models are told first; may be empty.")]
Temperature = Annotated[float, typer.Option(help="0 decodes greedily.")]
Seed = Annotated[int | None, typer.Option(help="With a temperature: the same seed, the same answer.")]
BaseUrl = Annotated[
    str | None, typer.Option(help="Of an OpenAI-compatible API (…/v1) that serves the base model by its name there.")
]
NudgingUrl = Annotated[str | None, typer.Option(help="The same for the nudging model.")]
BaseTokenizer = Annotated[
    str | None, typer.Option(help="Hub id or folder of the base model's tokenizer, if its server does not tell of it.")
]
NudgingTokenizer = Annotated[str | None, typer.Option(help="The same for the nudging model.")]
BaseKey = Annotated[str | None, typer.Option(envvar="NUDGING_BASE_API_KEY", show_envvar=True, help="For --base-url.")]
NudgingKey = Annotated[str | None, typer.Option(envvar="NUDGING_NUDGING_API_KEY", help="For --nudging-url.")]
Json = Annotated[bool, typer.Option("--json", help="Print answers as JSON, one a line, instead of streaming them.")]


@app.command()
def ask(
    question: Annotated[str, typer.Argument(help="What to answer; - reads it from standard input.")],
    base_model: BaseModel = None,
    nudging_model: NudgingModel = None,
    threshold: Threshold = 0.4,
    max_tokens: MaxTokens = 256,
    system: System = SYSTEM,
    temperature: Temperature = 0.0,
    seed: Seed = None,
    as_json: Json = False,
) -> None:
    """Answer one question."""
    with _errors_for_people():
        nudger = _nudger(
            base_model, nudging_model, threshold=threshold, max_tokens=max_tokens, temperature=temperature, seed=seed
        )
        text = typer.get_text_stream("stdin").read().strip() if question == "-" else question
        _answer(nudger, [*_system_turn(system), {"role": "user", "content": text}], as_json)


@app.command()
def chat(
    base_model: BaseModel = None,
    nudging_model: NudgingModel = None,
    threshold: Threshold = 0.4,
    max_tokens: MaxTokens = 256,
    system: System = SYSTEM,
    temperature: Temperature = 0.0,
    seed: Seed = None,
    as_json: Json = False,
) -> None:
    """Chat, turn by turn, until an empty line or Ctrl-D; Ctrl-C stops an answer."""
    with _errors_for_people():
        nudger = _nudger(
            base_model, nudging_model, threshold=threshold, max_tokens=max_tokens, temperature=temperature, seed=seed
        )
        turns = _system_turn(system)
        while question := _next_question():
            turns.append({"role": "user", "content": question})
            try:
                answer = _answer(nudger, turns, as_json)
            except KeyboardInterrupt:  # the answer is dropped, the chat goes on
                err.print("\nstopped; an empty line leaves")
                turns.pop()
            except PromptError as error:
                if not sys.stdin.isatty():
                    raise
                err.print(f"error: {error}", markup=False)
                turns.pop()
            else:
                turns.append({"role": "assistant", "content": answer.text})


@app.command()
def serve(
    base_model: BaseModel = None,
    nudging_model: NudgingModel = None,
    base_url: BaseUrl = None,
    nudging_url: NudgingUrl = None,
    base_api_key: BaseKey = None,
    nudging_api_key: NudgingKey = None,
    base_tokenizer: BaseTokenizer = None,
    nudging_tokenizer: NudgingTokenizer = None,
    threshold: Threshold = 0.4,
    max_tokens: MaxTokens = 256,
    name: Annotated[str, typer.Option(help="Of the pair, to clients.")] = "nudged",
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 is all of them.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=0, max=65535)] = 8080,
    api_key: Annotated[
        str | None, typer.Option(envvar="NUDGING_API_KEY", show_envvar=True, help="What clients must send, if set.")
    ] = None,
    at_once: Annotated[int, typer.Option(help="Answers that are worked on at a time.", min=1)] = 16,
    queue: Annotated[int, typer.Option(help="Requests that may wait for their turn.", min=0)] = 64,
    max_body: Annotated[int, typer.Option(help="Bytes of a request.", min=1)] = 1 << 20,
    max_prompt_tokens: Annotated[int | None, typer.Option(help="Length of a prompt.", min=1)] = None,
) -> None:
    """Serve the pair through OpenAI's API, with a page to chat at /."""
    with _errors_for_people():
        serving, uvicorn = _serving()
        nudger = _nudger(
            base_model,
            nudging_model,
            base_url=base_url,
            nudging_url=nudging_url,
            base_api_key=base_api_key,
            nudging_api_key=nudging_api_key,
            base_tokenizer=base_tokenizer,
            nudging_tokenizer=nudging_tokenizer,
            threshold=threshold,
            max_tokens=max_tokens,
        )
        with _loading(nudger):
            nudger.load()
        limits = serving.Limits(at_once=at_once, queue=queue, body=max_body, prompt_tokens=max_prompt_tokens)
        server = serving.create_app(nudger, name=name, limits=limits, api_key=api_key)
        err.print(f"{nudger.name}, as {name!r}, at http://{host}:{port}")
        uvicorn.run(server, host=host, port=port, log_level="warning", timeout_graceful_shutdown=SHUTDOWN)


@app.command()
def analyze(
    base_model: BaseModel = None,
    nudging_model: NudgingModel = None,
    questions: Annotated[
        Path | None,
        typer.Option(help='JSONL: a "question" a line, perhaps a "response".', show_default="a dozen of our own"),
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Only so many questions.", min=1)] = None,
    max_tokens: Annotated[int, typer.Option(help="Length of an aligned answer, in nudging-model tokens.", min=1)] = 256,
    system: System = SYSTEM,
    output: Annotated[Path, typer.Option("--out", help="Folder that is written.")] = Path("analysis"),
) -> None:
    """Show where the two models disagree, and suggest a threshold for the pair."""
    with _errors_for_people():
        from nudging.evaluation.disagreement import QUESTIONS, Exemplar, read_exemplars
        from nudging.evaluation.disagreement_report import pyplot

        exemplars = read_exemplars(questions) if questions else [Exemplar(question) for question in QUESTIONS]
        _check_folder(output)
        pyplot()  # if it is missing, better to know now
        nudger = _nudger(base_model, nudging_model)
        with _loading(nudger):
            nudger.load()
        _analyze(nudger, exemplars[:limit], system, max_tokens, output)


def _analyze(nudger: Nudger, exemplars: "Sequence[Exemplar]", system: str, max_tokens: int, output: Path) -> None:
    """Read answer by answer; whatever ends it, what was read is shown and kept."""
    from nudging.evaluation.disagreement import Analysis, Reading, read_answers
    from nudging.evaluation.disagreement_report import analysis_tables, draw_analysis

    readings: list[Reading] = []
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    try:
        with Progress(*columns, console=err, transient=True) as bar:
            task = bar.add_task("reading answers", total=len(exemplars))
            for reading in read_answers(nudger, exemplars, instructions=system, max_tokens=max_tokens):
                readings.append(reading)
                bar.advance(task)
    finally:
        if readings:
            analysis = Analysis(*nudger.model_names, tuple(readings))
            out.print(analysis_tables(analysis))
            with _writing(output):
                whole = json.dumps(analysis.to_dict(), ensure_ascii=False, indent=1)
                (output / "analysis.json").write_text(whole, encoding="utf-8")
                draw_analysis(analysis, output / "analysis.png")
            err.print(
                f"{len(readings)} of {len(exemplars)} answers, in {output}/analysis.json and {output}/analysis.png"
            )


def _check_folder(folder: Path) -> None:
    """Make the folder, and see that it can be written to, before anything is computed for it."""
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=folder).close()


@contextmanager
def _writing(folder: Path) -> Generator[None, None, None]:
    try:
        yield
    except OSError as error:
        raise SettingsError(
            f"cannot write to {str(folder)!r}: {error.strerror}; name a folder that can be written to as --out"
        ) from error


@app.command(name="eval")
def evaluate(
    base_model: BaseModel = None,
    nudging_model: NudgingModel = None,
    base_url: BaseUrl = None,
    nudging_url: NudgingUrl = None,
    base_api_key: BaseKey = None,
    nudging_api_key: NudgingKey = None,
    base_tokenizer: BaseTokenizer = None,
    nudging_tokenizer: NudgingTokenizer = None,
    tasks: Annotated[
        str | None, typer.Option(help="Names, parted by commas.", show_default="all that there is data of")
    ] = None,
    methods: Annotated[
        str, typer.Option(help="Of base, nudging (either alone), nudged, ensemble, proxy.")
    ] = "base,nudging,nudged",
    thresholds: Annotated[str, typer.Option(help="Of nudging; several are compared.")] = "0.4",
    limit: Annotated[int | None, typer.Option(help="Questions of each task at most.", show_default="all")] = None,
    max_tokens: MaxTokens = 256,
    data: Annotated[
        Path | None, typer.Option(help="Folder with <task>.jsonl for each task.", show_default="the hub's data sets")
    ] = None,
    out_folder: Annotated[Path, typer.Option("--out", help="Folder that is written.")] = Path("evaluation"),
    at_once: Annotated[int, typer.Option(help="Answers that are worked on at a time.")] = 1,
    judge: Annotated[
        str | None, typer.Option(help="Chat model that judges justeval, as LangChain names it: openai:gpt-4o.")
    ] = None,
    untuned_model: Annotated[
        str | None, typer.Option(help="For proxy: the nudging model as it was before its tuning.")
    ] = None,
    weight: Annotated[float, typer.Option(help="For ensemble: of the nudging model.")] = 0.5,
    alpha: Annotated[float, typer.Option(help="For proxy: how much of the tuning is carried over.")] = 1.0,
) -> None:
    """Evaluate the pair on the paper's tasks, beside either model alone; given again, it goes on where it stopped."""
    with _errors_for_people(f"the same command goes on from {out_folder}"):
        evaluation, judging = _evaluation()
        plan = evaluation.Plan.checked(
            tasks.split(",") if tasks is not None else None,
            _names(methods),
            _numbers(thresholds),
            data=data,
            limit=limit,
            max_tokens=max_tokens,
            at_once=at_once,
        )
        judges = judging.Judge.named(judge) if judge else None
        evaluation.check_folder(out_folder)
        nudger = _nudger(
            base_model,
            nudging_model,
            base_url=base_url,
            nudging_url=nudging_url,
            base_api_key=base_api_key,
            nudging_api_key=nudging_api_key,
            base_tokenizer=base_tokenizer,
            nudging_tokenizer=nudging_tokenizer,
            max_tokens=max_tokens,
        )
        _hush_transformers()
        with _answering_progress() as answered:
            evaluation.evaluate(
                nudger,
                plan,
                out_folder,
                judge=judges,
                untuned_model=untuned_model and _as_folder(untuned_model),
                weight=weight,
                alpha=alpha,
                answered=answered,
            )
        out.print((out_folder / "results.md").read_text(encoding="utf-8"), markup=False)
        err.print(f"[dim]answers, tables, transcripts and pictures are in {out_folder}[/dim]")


def _evaluation() -> tuple[Any, Any]:
    os.environ.setdefault("TQDM_DISABLE", "1")  # there is one bar, ours
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    try:
        import matplotlib  # noqa: F401 (only for the pictures, which are drawn when all is done)

        with err.status("loading lm-evaluation-harness"):
            from nudging.evaluation import judge, run
    except ImportError as error:
        raise MissingDependencyError(
            f"nudging eval needs the package {error.name}: pip install 'nudging[eval]'"
        ) from error
    return run, judge


def _names(listed: str) -> list[str]:
    return [name.strip() for name in listed.split(",") if name.strip()]


def _numbers(listed: str) -> list[float]:
    try:
        return [float(number) for number in _names(listed)]
    except ValueError:
        raise SettingsError(f"--thresholds {listed!r}: give numbers in [0, 1], parted by commas: 0.2,0.4,0.6") from None


@contextmanager
def _answering_progress() -> Generator[Any, None, None]:
    """A bar, and a function that moves it by an answer."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task("loading", total=None)

        def answered(label: str, total: int) -> None:
            bar.update(task, description=label, total=total, advance=1)

        yield answered


def _serving() -> tuple[Any, Any]:
    try:
        import uvicorn

        from nudging import serving
    except ImportError as error:
        raise MissingDependencyError(
            f"nudging serve needs the package {error.name}: pip install 'nudging[server]'"
        ) from error
    return serving, uvicorn


def _next_question() -> str:
    try:
        err.print("\n[bold]>[/bold] ", end="")
        return input().strip()
    except EOFError:
        return ""


def _system_turn(system: str) -> list[dict[str, str]]:
    return [{"role": "system", "content": system}] if system else []


def _nudger(base_model: str | None, nudging_model: str | None, **settings: Any) -> Nudger:
    """The engine of these models, with what must be converted first converted."""
    Nudger(base_model or "demo", nudging_model or "demo", **settings)  # settings are checked before anything slow
    for side, model in (("base", base_model), ("nudging", nudging_model)):
        if settings.get(f"{side}_url") and model is None:
            raise SettingsError(f"--{side}-url needs --{side}-model, the name that the server has for it")
    if base_model is None or nudging_model is None:
        from nudging.models.demo import demo_pair

        with _conversion_progress(stages=8) as progress:
            demo_base, demo_nudging = demo_pair(progress)
        base_model, nudging_model = base_model or str(demo_base), nudging_model or str(demo_nudging)
    return Nudger(_as_folder(base_model), _as_folder(nudging_model), **settings)


def _as_folder(model: str) -> str:
    """A GGUF file is converted here, where its progress can be shown."""
    if not model.endswith(".gguf"):
        return model
    from nudging.models.local.gguf import converted

    with _conversion_progress(stages=3) as progress:
        return str(converted(Path(model).expanduser(), progress))


@contextmanager
def _conversion_progress(stages: int) -> Generator[Any, None, None]:
    """A bar that appears with the first stage, and a function that moves it to the next."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task("", total=stages, visible=False)

        def begin(stage: str) -> None:
            _hush_transformers()
            seen = bar.tasks[task].description
            bar.update(task, description=f"preparing {stage} (once)", visible=True, advance=1 if seen else 0)

        yield begin


def _answer(nudger: Nudger, turns: list[dict[str, str]], as_json: bool) -> Answer:
    with _loading(nudger):
        stream = nudger.stream(turns)  # the prompt is checked before the weights are loaded
        nudger.load()
    started = time.monotonic()
    with stream, err.status("answering") as waiting:
        for piece in stream:
            if not as_json:
                waiting.stop()
                out.print(as_rich([(piece.author, piece.text)]), end="")
    answer = stream.answer
    if as_json:
        typer.echo(json.dumps(answer.to_dict(), ensure_ascii=False))
    else:
        speed = answer.usage.completion_tokens / (time.monotonic() - started)
        out.print()
        err.print(f"[dim]{answer.summary} · {speed:.1f} tokens/s[/dim]")
    return answer


def _loading(nudger: Nudger) -> AbstractContextManager[Any]:
    """A spinner while folders are loaded; what comes from the hub shows bars of its own."""
    if not all(Path(name).is_dir() for name in nudger.model_names):
        return nullcontext()
    _hush_transformers()
    return err.status("loading the models")


def _hush_transformers() -> None:
    """Keep its bars and remarks out of the way of ours."""
    with suppress(ImportError):  # which is explained when a model is loaded
        from transformers.utils import logging

        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        logging.set_verbosity_error()  # type: ignore[no-untyped-call]


@contextmanager
def _errors_for_people(hint: str = "") -> Generator[None, None, None]:
    """Errors in a line, and exit codes.

    Args:
        hint: What to do after an interruption.
    """
    try:
        yield
    except NudgingError as error:
        err.print(Text.assemble(("error: ", "bold red"), str(error)))
        raise typer.Exit(WRONG_USAGE if isinstance(error, SettingsError) else FAILED) from None
    except KeyboardInterrupt:
        err.print("\ninterrupted" + (f": {hint}" if hint else ""), markup=False)
        raise typer.Exit(INTERRUPTED) from None
