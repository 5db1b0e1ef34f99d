"""Pairs on servers of every kind answer as the same models do in this process.

Ollama, SGLang, TGI and the hosts are stand-ins (`odd_servers.py`). llama-cpp-python's server is the real one.
"""

import json
import shutil
from bisect import bisect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from jsonschema import Draft202012Validator
from llamacpp_server import llama_cpp_python_server
from nudging import Nudger, UnsupportedModelError
from nudging.errors import ContextLengthError
from nudging.models.llamacpp.model import LlamaCppModel
from nudging.models.local.model import LocalModel
from nudging.models.remote.model import RemoteModel
from odd_servers import TGI, Host, OddServer, Ollama, SGLang, odd_server
from tiny import tiny_gemma, tiny_llama
from tiny_gguf import OTHER, Vocabulary, llama_gguf, tokenizer_of
from transformers import AutoModelForCausalLM, AutoTokenizer

pytestmark = [pytest.mark.enable_socket, pytest.mark.usefixtures("short_waits")]

QUESTIONS = ["why is the sky blue?", "are whales far away?", "🌍 go there"]
KEY = "sk-very-secret"


def is_completion(body: dict[str, Any]) -> bool:
    """Return True if this is the body of a request for a completion, and not for tokens."""
    return bool({"max_tokens", "parameters", "options"} & body.keys())


@dataclass(frozen=True)
class Pair:
    """Two models on servers, and the same two in this process.

    Args:
        options: The arguments of `Nudger` for the models on servers.
        local: The models in this process.
        requests: Returns the bodies of all requests for completions. A real server has none to show.
    """

    options: dict[str, Any]
    local: Nudger
    requests: Callable[[], list[dict[str, Any]]] = field(default=list)

    def completions(self) -> int:
        """Return the number of requests for completions so far."""
        return sum(map(is_completion, self.requests()))

    def nudger(self, **options: Any) -> Nudger:
        return Nudger(**{"threshold": 0.2, "max_tokens": 12, **self.options, **options})


CONTEXT = 1024

STAND_INS: dict[str, tuple[type[OddServer], dict[str, Any]]] = {
    "ollama": (Ollama, {"name": "tiny:latest", "default_context": CONTEXT}),
    "sglang": (SGLang, {}),
    "sglang-4": (SGLang, {"interval": 4}),
    "tgi": (TGI, {}),
    "host": (Host, {}),
}
KINDS = [*STAND_INS, "llama-cpp-python"]
NO_TOKENIZER = ("ollama", "host")
NO_TEMPLATE = ("ollama", "host", "sglang", "sglang-4")
HIDE_PARTS = ("Ollama", "llama-cpp-python")
"""Kinds that do not show the tokens of an unfinished character. They are tested with models that write ASCII."""


@contextmanager
def stand_ins(kind: str, base: Path, nudging: Path, **more: Any) -> Iterator[Pair]:
    """Run two stand-ins of a kind."""
    server, options = STAND_INS[kind]
    options = {**options, **more}
    with odd_server(server, base, **options) as one, odd_server(server, nudging, **options) as other:
        arguments = {"base_model": one.name, "nudging_model": other.name, "base_url": one.url, "nudging_url": other.url}
        if kind in NO_TOKENIZER:
            arguments |= {"base_tokenizer": str(base)}
        if kind in NO_TEMPLATE:
            arguments |= {"nudging_tokenizer": str(nudging)}
        if kind == "host":
            arguments |= {"base_context_window": CONTEXT, "nudging_context_window": CONTEXT}
        local = Nudger(LocalModel(base), LocalModel(nudging), threshold=0.2, max_tokens=12)
        yield Pair(arguments, local, lambda: [body for side in (one, other) for _, body in side.requests])


def plain_gguf(vocabulary: Vocabulary) -> Callable[[Any], None]:
    """Return what `plain` does for a GGUF file, as its `edit`."""
    others = not_ascii(tokenizer_of(vocabulary).get_vocab())

    def edit(writer: Any) -> None:
        writer.tensors[0]["output.weight"].tensor[others] = 0

    return edit


@contextmanager
def llama_cpp_python(folder: Path) -> Iterator[Pair]:
    """Run two servers of llama-cpp-python. They do not tell the context, and have no chat template."""
    base = llama_gguf(
        folder / "base.gguf", seed=1, vocabulary=OTHER, context=CONTEXT, templates=None, edit=plain_gguf(OTHER)
    )
    nudging = llama_gguf(folder / "nudging.gguf", context=CONTEXT, edit=plain_gguf(Vocabulary()))
    with (
        llama_cpp_python_server(base, context=CONTEXT) as one,
        llama_cpp_python_server(nudging, context=CONTEXT) as other,
    ):
        arguments = {"base_model": base.name, "nudging_model": nudging.name}
        arguments |= {"base_url": one.url, "nudging_url": other.url, "nudging_tokenizer": str(nudging)}
        arguments |= {"base_context_window": CONTEXT, "nudging_context_window": CONTEXT}  # type: ignore[dict-item]
        local = Nudger(LlamaCppModel(base), LlamaCppModel(nudging), threshold=0.2, max_tokens=12)
        yield Pair(arguments, local)


def not_ascii(vocabulary: dict[str, int]) -> list[int]:
    """Return the tokens with bytes outside of ASCII. Random ones are mostly no characters, and servers drop them."""
    return [token for text, token in vocabulary.items() if not text.replace("Ġ", " ").isascii()]


def plain(folder: Path, target: Path) -> Path:
    """Save a copy of a model that writes ASCII only, and return its folder."""
    shutil.copytree(folder, target)
    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        model.lm_head.weight[not_ascii(AutoTokenizer.from_pretrained(folder).get_vocab())] = 0
    model.save_pretrained(target)
    return target


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folders of a tiny base and a tiny nudging model."""
    folder = tmp_path_factory.mktemp("tiny")
    return tiny_gemma(folder / "base", context=CONTEXT), tiny_llama(folder / "nudging", context=CONTEXT)


@pytest.fixture(scope="module")
def pairs(models: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Pair]]:
    """Return the pair of a kind. Each one starts once."""
    started: dict[str, Pair] = {}
    with ExitStack() as stack:

        def pair(kind: str) -> Pair:
            if kind not in started:
                folder, (base, nudging) = tmp_path_factory.mktemp("models"), models
                if kind in ("ollama", "sglang-4"):
                    base, nudging = plain(base, folder / "base"), plain(nudging, folder / "nudging")
                servers = stand_ins(kind, base, nudging) if kind in STAND_INS else llama_cpp_python(folder)
                started[kind] = stack.enter_context(servers)
            return started[kind]

        yield pair


@pytest.fixture(params=KINDS)
def pair(request: pytest.FixtureRequest, pairs: Callable[[str], Pair]) -> Pair:
    return pairs(request.param)


CASES: list[dict[str, Any]] = [
    {"rule": "words", "end": 0.0},
    {"rule": "words", "end": 0.02},
    {"rule": "tokens", "threshold": 0.1, "end": 0.02},
    {"rule": "bet", "bet": 0.1, "end": 0.0},
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['rule']}-{case['end']}")
def test_the_answers_are_those_of_the_models_in_this_process(pair: Pair, case: dict[str, Any]) -> None:
    nudger = pair.nudger()
    for question in QUESTIONS:
        assert nudger.prompts(question) == pair.local.prompts(question)
        found, expected = nudger.generate(question, **case), pair.local.generate(question, **case)
        assert (found.text, found.finish_reason) == (expected.text, expected.finish_reason)
        if kind_of(nudger) not in HIDE_PARTS:
            assert found.pieces == expected.pieces


async def test_many_at_once_and_on_an_event_loop(pair: Pair) -> None:
    nudger = pair.nudger()
    expected = [pair.local.generate(question).text for question in QUESTIONS]
    assert [answer.text for answer in nudger.generate_many(QUESTIONS)] == expected
    assert [answer.text for answer in await nudger.agenerate_many(QUESTIONS * 2)] == expected * 2
    assert "".join([piece.text async for piece in nudger.astream(QUESTIONS[0])]) == expected[0]


@pytest.mark.parametrize("side", ["base", "nudging"])
def test_an_answer_ends_where_the_context_does(pair: Pair, side: Any) -> None:
    nudger, long = pair.nudger(), "the sky is blue and the sun is far away " * 400
    served, local = getattr(nudger, f"{side}_model"), getattr(pair.local, f"{side}_model")
    special = side == "base"
    end = bisect(
        range(len(long)), CONTEXT - 9, key=lambda end: len(local.tokenizer.encode(long[:end], special_tokens=special))
    )
    prompt = long[: end - 1]
    found, expected = (list(model.session(prompt, author=side).steps("", 100)) for model in (served, local))
    room = CONTEXT - len(local.tokenizer.encode(prompt, special_tokens=special))
    assert room <= len(expected) <= room + 1
    if served.server.kind == "SGLang":
        expected = expected[: room - 1]
    if served.server.kind not in HIDE_PARTS:
        assert [step.text for step in found] == [step.text for step in expected]
    assert list(served.session(prompt, author=side).steps("b" * 100, 100)) == []
    with pytest.raises(ContextLengthError):
        served.session(long, author=side)


def kind_of(nudger: Nudger) -> str:
    """Return the kind of server of the base model."""
    model = nudger.base_model
    assert isinstance(model, RemoteModel)
    return model.server.kind


TEMPERED = {"SGLang": "temperature=1", "TGI": "temperature=1"}


def test_a_seed_gives_one_answer_or_the_error_says_what_is_possible(pair: Pair) -> None:
    nudger = pair.nudger(temperature=0.8)
    kind = kind_of(nudger)
    decoded = pair.completions()
    if kind in TEMPERED:
        with pytest.raises(UnsupportedModelError, match=TEMPERED[kind]):
            nudger.generate(QUESTIONS[0], seed=1)
        assert pair.completions() == decoded
        nudger = pair.nudger(temperature=1.0)
    texts = {seed: nudger.generate(QUESTIONS[0], seed=seed).text for seed in (1, 2, 3)}
    assert len(set(texts.values())) > 1
    assert {seed: nudger.generate(QUESTIONS[0], seed=seed).text for seed in texts} == texts


SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "maxLength": 12},
        "size": {"type": "integer"},
        "big": {"type": "boolean"},
    },
    "required": ["city", "size", "big"],
    "additionalProperties": False,
}
TOOL = {"type": "function", "function": {"name": "look_up", "description": "Look up a city.", "parameters": SCHEMA}}


def test_schemas_regexes_and_forced_calls_are_valid(pair: Pair) -> None:
    nudger = pair.nudger(max_tokens=80)
    question = QUESTIONS[0]
    Draft202012Validator(SCHEMA).validate(json.loads(nudger.generate(question, schema=SCHEMA).text))
    assert nudger.generate(question, regex="(yes|no), [a-z]{3}").text[:4] in ("yes,", "no, ")
    (call,) = nudger.generate(question, tools=[TOOL], tool_choice="required").tool_calls
    Draft202012Validator(SCHEMA).validate(call.arguments)


CANNOT_SCORE = ("Ollama", "llama-cpp-python", "an OpenAI-compatible server")


def test_log_probabilities_are_those_of_this_process_or_refused(pair: Pair) -> None:
    nudger, decoded = pair.nudger(max_tokens=8), pair.completions()
    if kind_of(nudger) in CANNOT_SCORE:
        with pytest.raises(UnsupportedModelError, match=r"cannot score.*leave logprobs out"):
            nudger.generate(QUESTIONS[0], logprobs=True)
        assert pair.completions() == decoded
        return
    found = nudger.generate(QUESTIONS[0], logprobs=True).logprobs
    expected = pair.local.generate(QUESTIONS[0], logprobs=True, max_tokens=8).logprobs
    assert found
    assert expected
    for one, other in zip(found, expected, strict=True):
        assert one.logprob == pytest.approx(other.logprob, abs=1e-3)


@pytest.mark.parametrize("kind", ["ollama", "sglang", "tgi"])
@pytest.mark.parametrize("adds", [True, False], ids=["the tokenizer adds a BOS", "it adds none"])
def test_a_bos_in_the_chat_template_is_not_doubled(
    kind: str, adds: bool, models: tuple[Path, Path], tmp_path: Path
) -> None:
    base, nudging = plain(models[0], tmp_path / "base"), plain(models[not adds], tmp_path / "nudging")
    template = (models[1] / "chat_template.jinja").read_text()
    (nudging / "chat_template.jinja").write_text(f"{{{{ bos_token }}}}{template}" if adds else template)
    with stand_ins(kind, base, nudging) as pair:
        nudger = pair.nudger()
        for question in QUESTIONS[:2]:
            assert nudger.prompts(question).nudging.startswith("<start>") == adds
            assert nudger.generate(question).text == pair.local.generate(question).text
        sent = [body.get("prompt") or body["inputs"] for body in pair.requests() if is_completion(body)]
        assert any(sent)
        for prompt in filter(None, sent):  # the server adds a BOS to a text
            assert not prompt.startswith("<start>") if isinstance(prompt, str) else prompt[0] != prompt[1]


@pytest.mark.parametrize("kind", ["sglang", "ollama"])
def test_sampling_parameters_of_the_model_change_nothing(kind: str, models: tuple[Path, Path], tmp_path: Path) -> None:
    folders = [plain(model, tmp_path / name) for model, name in zip(models, ("base", "nudging"), strict=True)]
    own: dict[str, Any] = (
        {"parameters": {"repeat_penalty": 1.8, "top_k": 1, "temperature": 2.0}} if kind == "ollama" else {}
    )
    with stand_ins(kind, *folders, **own) as pair:
        for question in QUESTIONS[:2]:
            assert pair.nudger().generate(question).text == pair.local.generate(question).text
        sent = [body for body in pair.requests() if is_completion(body)]
        assert sent
        penalty = {"ollama": "repeat_penalty", "sglang": "repetition_penalty"}[kind]
        for body in sent:
            values = body.get("options", body)
            assert (values[penalty], values["min_p"], values["top_p"], values["temperature"]) == (1, 0, 1, 0)


def test_an_unknown_host_gets_only_arguments_of_openai(pairs: Callable[[str], Pair]) -> None:
    pair = pairs("host")
    pair.nudger().generate(QUESTIONS[0])
    pair.nudger(temperature=0.5, top_p=0.9).generate(QUESTIONS[0], seed=1)
    known = {"model", "prompt", "max_tokens", "temperature", "top_p", "seed", "stream", "logprobs"}
    assert {name for body in pair.requests() if "max_tokens" in body for name in body} == known
