"""One model of a pair without the other, for comparison with nudging."""

from collections.abc import Generator
from contextlib import closing
from threading import Event

from typing_extensions import Unpack

from nudging.answer import Answer, Author, FinishReason, ModelUsage, Piece, Usage
from nudging.models.base import Sampling, Session
from nudging.nudger import Nudger
from nudging.prompting.conversation import Prompt
from nudging.request import Options, Request
from nudging.rules.unfinished import find_stop, stop_start
from nudging.settings import Settings


def generate_alone(
    nudger: Nudger, author: Author, prompt: Prompt, *, cancelled: Event | None = None, **options: Unpack[Options]
) -> Answer:
    """Return the answer of one of the two models, to the prompt that it has in the pair.

    The answer is one piece, counted in the model's own tokens. It ends where the model ends its turn, at a stop string,
    or after `max_tokens`.

    Args:
        nudger: The pair and its settings.
        author: The model that answers.
        prompt: The prompt, as for `Nudger.generate`.
        cancelled: Setting this event ends the answer.
        **options: Settings for this call.

    Raises:
        NudgingError: An error that `Nudger.generate` raises.
    """
    pieces = stream_alone(nudger, author, prompt, cancelled=cancelled, **options)
    while True:
        try:
            next(pieces)
        except StopIteration as finished:  # noqa: PERF203 (a generator returns its result so)
            answer: Answer = finished.value
            return answer


def stream_alone(
    nudger: Nudger, author: Author, prompt: Prompt, *, cancelled: Event | None = None, **options: Unpack[Options]
) -> Generator[Piece, None, Answer]:
    """Yield the pieces of the answer of `generate_alone`, and return that answer. Arguments and errors are the same."""
    settings = Request.checked(prompt, nudger.settings, **options).settings
    prompts, sampling = nudger.prompts(prompt), None
    if settings.temperature:
        sampling = Sampling(settings.temperature, settings.top_p, f"{settings.seed}:{author}")
    model, text = (nudger.base_model, prompts.base) if author == "base" else (nudger.nudging_model, prompts.nudging)
    with closing(model.session(text, author=author, sampling=sampling)) as session:
        written, tokens, finish_reason = yield from _decode(session, author, settings, cancelled or Event())
        usage = session.usage()
    by_author = {"base": ModelUsage(), "nudging": ModelUsage()} | {author: usage}
    return Answer(
        pieces=(Piece(written, author, tokens, 0),) if written else (),
        finish_reason=finish_reason,
        usage=Usage(usage.prompt_tokens, tokens, by_author["base"], by_author["nudging"]),
    )


def _decode(
    session: Session, author: Author, settings: Settings, cancelled: Event
) -> Generator[Piece, None, tuple[str, int, FinishReason]]:
    """Yield text once no stop string can begin in it. Return the whole text, its tokens, and the reason of its end."""
    text, tokens, yielded, yielded_tokens = "", 0, 0, 0
    finish_reason: FinishReason = "length"
    with closing(session.steps("", settings.max_tokens)) as steps:
        for step in steps:
            if step.end:
                finish_reason = "stop"
                break
            text, tokens = text + step.text, tokens + 1
            if (stop := find_stop(text, settings.stop, yielded)) is not None:
                text, finish_reason = text[:stop], "stop"
                break
            final = stop_start(text, settings.stop)
            if final > yielded:
                yield Piece(text[yielded:final], author, tokens - yielded_tokens, 0)
                yielded, yielded_tokens = final, tokens
            if cancelled.is_set():
                break
    if text[yielded:]:
        yield Piece(text[yielded:], author, tokens - yielded_tokens, 0)
    return text, tokens, finish_reason
