"""One model of a pair without the other: its prompt, its text and its endings."""

from collections.abc import Generator
from typing import Any

import pytest
from nudging import Nudger, Piece, ScriptedModel, Step
from nudging.evaluation.single_model import generate_alone, stream_alone

END = Step("", 1.0, end=True)


@pytest.mark.parametrize(("author", "prompt"), [("base", "Say hello.\n"), ("nudging", "user: Say hello.\nassistant: ")])
def test_generate_alone_uses_the_models_prompt_in_the_pair(author: Any, prompt: str) -> None:
    asked = []

    def write(prompt: str, text: str) -> list[Step]:
        asked.append(prompt)
        return [Step("Hello", 1.0), Step(" there", 1.0), Step(" and", 1.0), Step("", 1.0, end=True)]

    model = ScriptedModel(write)
    nudger = Nudger(model, model)
    whole = generate_alone(nudger, author, "Say hello.")
    assert asked == [prompt]
    assert (whole.text, whole.finish_reason) == ("Hello there and", "stop")
    assert whole.usage.completion_tokens == 3
    assert {piece.author for piece in whole.pieces} == {author}
    cut = generate_alone(nudger, author, "Say hello.", max_tokens=2)
    assert (cut.text, cut.finish_reason) == ("Hello there", "length")
    stopped = generate_alone(nudger, author, "Say hello.", stop="the")
    assert (stopped.text, stopped.finish_reason) == ("Hello ", "stop")


def test_the_base_model_alone_decodes_greedily(tiny: Nudger) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tiny.model_names[0]
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    prompt = tokenizer(tiny.prompts("the sky").base, return_tensors="pt")
    with torch.no_grad():
        tokens = model.generate(**prompt, max_new_tokens=12, do_sample=False)[0, prompt["input_ids"].shape[1] :]
    answer = generate_alone(tiny, "base", "the sky", max_tokens=12)
    assert answer.text == tokenizer.decode(tokens, skip_special_tokens=True)


@pytest.mark.parametrize(
    ("stop", "pieces", "reason"),
    [
        ((), ["Hel", "lo", " there", " you"], "stop"),
        (("there you",), ["Hel", "lo", " "], "stop"),  # " " is final; "there" may begin the stop string
        (("there me",), ["Hel", "lo", " ", "there you"], "stop"),
        (("lo th",), ["He", "l"], "stop"),
    ],
)
def test_text_is_yielded_once_no_stop_string_can_begin_in_it(
    stop: tuple[str, ...], pieces: list[str], reason: str
) -> None:
    model = ScriptedModel(
        lambda prompt, text: [Step("Hel", 1.0), Step("lo", 1.0), Step(" there", 1.0), Step(" you", 1.0), END]
    )
    answers = []

    def pieces_of_stream() -> Generator[Piece, None, None]:
        answers.append((yield from stream_alone(Nudger(model, model), "base", "Say hello.", stop=stop)))

    assert [piece.text for piece in pieces_of_stream()] == pieces
    assert answers == [generate_alone(Nudger(model, model), "base", "Say hello.", stop=stop)]
    assert answers[0].text == "".join(pieces)
    assert answers[0].finish_reason == reason


def test_closing_the_stream_stops_the_decoding() -> None:
    closed = []

    class Session(ScriptedModel):
        def session(self, *arguments: Any, **options: Any) -> Any:
            session = super().session(*arguments, **options)
            close = session.close
            session.close = lambda: (closed.append(True), close())  # type: ignore[method-assign]
            return session

    model = Session("one two three")
    stream = stream_alone(Nudger(model, model), "nudging", "Count.")
    assert next(stream).text == "one"
    stream.close()
    assert closed == [True]
