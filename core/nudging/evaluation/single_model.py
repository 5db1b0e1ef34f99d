"""One model of a pair without the other: what nudging is compared with."""

from threading import Event

from typing_extensions import Unpack

from nudging.answer import Answer, Author, FinishReason, ModelUsage, Piece, Usage
from nudging.models.base import Sampling
from nudging.nudger import Nudger
from nudging.prompting.conversation import Prompt
from nudging.request import Options, Request


def alone(
    nudger: Nudger, author: Author, prompt: Prompt, *, given_up: Event | None = None, **options: Unpack[Options]
) -> Answer:
    """The answer of one of the two models, to the prompt that it has in the pair: plain text, or its chat template.

    Its only piece is in the model's own tokens. It ends where the model ends its turn, at a stop string, or after
    `max_tokens`.

    Args:
        nudger: The pair, and its settings.
        author: Which of the two.
        prompt: As `Nudger.generate` takes it.
        given_up: Once set, the answer ends where it is.
        **options: Settings for this call.

    Raises:
        NudgingError: What `Nudger.generate` raises.
    """
    settings = Request.checked(prompt, nudger.settings, **options).settings
    prompts, sampling = nudger.prompts(prompt), None
    if settings.temperature:
        sampling = Sampling(settings.temperature, settings.top_p, f"{settings.seed}:{author}")
    model, text = (nudger.base_model, prompts.base) if author == "base" else (nudger.nudging_model, prompts.nudging)
    session = model.session(text, author=author, sampling=sampling)
    written, tokens = "", 0
    finish_reason: FinishReason = "length"
    steps = session.steps("", settings.max_tokens)
    try:
        for step in steps:
            if step.end:
                finish_reason = "stop"
                break
            written, tokens = written + step.text, tokens + 1
            if found := [at for stop in settings.stop if (at := written.find(stop)) >= 0]:
                written, finish_reason = written[: min(found)], "stop"
                break
            if given_up is not None and given_up.is_set():
                break
        usage = session.usage()
    finally:
        steps.close()
        session.close()
    sides = {"base": ModelUsage(), "nudging": ModelUsage()} | {author: usage}
    return Answer(
        pieces=(Piece(written, author, tokens, 0),) if written else (),
        finish_reason=finish_reason,
        usage=Usage(usage.prompt_tokens, tokens, sides["base"], sides["nudging"]),
    )
