"""One model of a pair without the other, for comparison with nudging."""

from threading import Event

from typing_extensions import Unpack

from nudging.answer import Answer, Author, FinishReason, ModelUsage, Piece, Usage
from nudging.models.base import Sampling, Session
from nudging.nudger import Nudger
from nudging.prompting.conversation import Prompt
from nudging.request import Options, Request
from nudging.rules.unfinished import find_stop
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
    settings = Request.checked(prompt, nudger.settings, **options).settings
    prompts, sampling = nudger.prompts(prompt), None
    if settings.temperature:
        sampling = Sampling(settings.temperature, settings.top_p, f"{settings.seed}:{author}")
    model, text = (nudger.base_model, prompts.base) if author == "base" else (nudger.nudging_model, prompts.nudging)
    session = model.session(text, author=author, sampling=sampling)
    try:
        written, tokens, finish_reason = _decode(session, settings, cancelled or Event())
        usage = session.usage()
    finally:
        session.close()
    by_author = {"base": ModelUsage(), "nudging": ModelUsage()} | {author: usage}
    return Answer(
        pieces=(Piece(written, author, tokens, 0),) if written else (),
        finish_reason=finish_reason,
        usage=Usage(usage.prompt_tokens, tokens, by_author["base"], by_author["nudging"]),
    )


def _decode(session: Session, settings: Settings, cancelled: Event) -> tuple[str, int, FinishReason]:
    """Return the text, its length in tokens, and the reason why it ended."""
    written, tokens = "", 0
    steps = session.steps("", settings.max_tokens)
    try:
        for step in steps:
            if step.end:
                return written, tokens, "stop"
            written, tokens = written + step.text, tokens + 1
            if (stop := find_stop(written, settings.stop)) is not None:
                return written[:stop], tokens, "stop"
            if cancelled.is_set():
                break
    finally:
        steps.close()
    return written, tokens, "length"
