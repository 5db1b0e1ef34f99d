"""Models in this process: the KV cache, sliding windows, contexts, and what cannot be used."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from naive import NaiveModel
from nudging import (
    ChatTemplateError,
    ContextLengthError,
    ModelNotFoundError,
    Nudger,
    SettingsError,
    UnsupportedModelError,
)
from nudging.models.base import Hint, Sampling
from nudging.models.local.kv_cache import KVCache
from nudging.models.local.model import LocalModel
from nudging.models.local.speculative import SpeculativeDecoder
from nudging.tools.calls import ToolCall
from tiny import WINDOW, tiny_gemma, tiny_llama, tiny_mamba

LONG = "the sky is blue and the sun is far away, " * 4


def steps_of(model: LocalModel, prompt: str, text: str = "", limit: int = 12, hint: str = "") -> list[str]:
    session = model.session(prompt, author="base")
    taken = [step.text for step in session.steps(text, limit, Hint(hint))]
    session.close()
    return taken


def test_a_sliding_window_model_is_right_beyond_its_window(tiny_base: Path) -> None:
    model, naive = LocalModel(tiny_base), NaiveModel(str(tiny_base), bos=True)
    assert len(model.tokenizer.encode(LONG, special_tokens=True)) > 2 * WINDOW
    assert steps_of(model, LONG) == [text for text, _, _ in naive.complete(LONG, 12)]
    # and after going back to a point that the window had left
    middle = LONG[: len(LONG) // 2]
    assert steps_of(model, middle) == [text for text, _, _ in naive.complete(middle, 12)]


def test_asking_again_costs_nothing(tiny_base: Path) -> None:
    session = LocalModel(tiny_base).session(LONG, author="base")
    first = list(session.steps("", 8))
    before = session.usage()
    assert list(session.steps("", 8)) == first
    assert session.usage() == before


def test_a_longer_text_costs_only_what_is_new(tiny_base: Path) -> None:
    model = LocalModel(tiny_base)
    session = model.session(LONG, author="base")
    next(session.steps("", 1))
    before = session.usage()
    next(session.steps(" so we go", 1))
    new = len(model.tokenizer.encode(LONG + " so we go", special_tokens=True)) - before.prompt_tokens
    assert session.usage().tokens_fed - before.tokens_fed <= new + 1


def test_a_second_session_reuses_the_prefix_of_the_first(tiny_base: Path) -> None:
    model = LocalModel(tiny_base)
    steps_of(model, LONG + "one")
    session = model.session(LONG + "two", author="base")
    next(session.steps("", 1))
    assert session.usage().tokens_fed < 10


def test_a_hint_that_comes_true_saves_forward_passes_and_one_that_does_not_changes_nothing(tiny_base: Path) -> None:
    model = LocalModel(tiny_base)
    expected = steps_of(model, "the sun", limit=8)
    plain = LocalModel(tiny_base).session("the sun", author="base")
    list(plain.steps("", 8))
    for hint in ["".join(expected), expected[0] + " nonsense", "🌍🌍", "e sun"]:
        session = LocalModel(tiny_base).session("the sun", author="base")
        assert [step.text for step in session.steps("", 8, Hint(hint))] == expected
        assert session.usage().forward_passes <= plain.usage().forward_passes


def test_closing_steps_early_leaves_the_session_usable(tiny_base: Path) -> None:
    session = LocalModel(tiny_base).session("the sun", author="base")
    whole = list(session.steps("", 8))
    again = session.steps("", 8)
    next(again)
    again.close()
    assert list(session.steps("", 8)) == whole


def test_a_failing_forward_pass_leaves_the_model_usable(tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = LocalModel(tiny_base)
    expected = steps_of(model, "the sun")
    session = model.session("the moon", author="base")
    with monkeypatch.context() as patch:
        patch.setattr(model.weights.load().lm_head, "forward", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            next(session.steps("", 1))
        session.close()
    assert steps_of(model, "the sun") == expected
    assert steps_of(model, "the moon") == steps_of(LocalModel(tiny_base), "the moon")


def test_steps_end_where_the_context_is_full(tmp_path: Path) -> None:
    model = LocalModel(tiny_llama(tmp_path, context=32))
    prompt = "the sky is"
    room = 32 - len(model.tokenizer.encode(prompt, special_tokens=True))
    for limit in (room - 1, room, room + 1, 200):
        assert len(steps_of(model, prompt, limit=limit, hint=" blue" * 40)) <= room


def test_a_prompt_longer_than_the_context_is_refused_before_the_weights_are_loaded(tmp_path: Path) -> None:
    model = LocalModel(tiny_llama(tmp_path, context=32))
    with pytest.raises(ContextLengthError, match=r"\d+ tokens, and .* has a context of 32"):
        model.session(LONG, author="nudging")
    assert model._weights is None


def test_an_answer_that_reaches_the_end_of_a_context_stops_with_length(tmp_path: Path) -> None:
    for base, nudging in [(64, 512), (512, 64)]:
        folder = tmp_path / f"{base}-{nudging}"
        models = tiny_gemma(folder / "base", context=base), tiny_llama(folder / "nudging", context=nudging)
        nudger = Nudger(*models, threshold=0.1, max_tokens=500)
        answer = nudger.generate("why is the sky blue")
        assert answer.finish_reason in {"length", "loop"}
        assert answer.text


def test_the_base_prompt_gets_a_bos_and_the_nudging_prompt_none(tiny_base: Path) -> None:
    model = LocalModel(tiny_base)
    as_base, as_nudging = (model.session("the sun", author=author).usage() for author in ("base", "nudging"))
    assert as_base.prompt_tokens == as_nudging.prompt_tokens + 1


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_runs(tiny_base: Path, dtype: str) -> None:
    model = LocalModel(tiny_base, dtype=dtype)
    assert len(steps_of(model, "the sun")) > 0
    assert model.weights.load().dtype == getattr(torch, dtype)


def test_a_device_map_places_the_weights(tiny_base: Path) -> None:
    assert steps_of(LocalModel(tiny_base, device_map="cpu", dtype="float32"), "the sun") == steps_of(
        LocalModel(tiny_base), "the sun"
    )


def test_a_cache_lent_out_is_nobody_elses(tiny_base: Path) -> None:
    model = LocalModel(tiny_base)
    one, other = (model.session(LONG, author="base") for _ in range(2))
    first, second = one.steps("", 8), other.steps("", 8)
    mixed = [step for pair in zip(first, second, strict=True) for step in pair]
    assert mixed[::2] == mixed[1::2]


def test_idle_caches_are_few(tiny_base: Path) -> None:
    model = LocalModel(tiny_base, kept_caches=2)
    for prompt in ["one", "two", "three", "the sun"]:
        steps_of(model, prompt, limit=2)
    assert len(model.caches._idle) == 2


def first_choice(model: LocalModel, cache: KVCache, tokens: list[int]) -> int:
    return next(SpeculativeDecoder(cache, model.weights.forward).choices(tokens, 1, None)).token


def test_a_fork_does_not_share_its_layers(tiny_base: Path) -> None:
    model = LocalModel(tiny_base)
    tokens = model.tokenizer.encode(LONG, special_tokens=True)
    cache = KVCache()
    first_choice(model, cache, tokens)
    fork = cache.fork(10)
    expected = first_choice(model, KVCache(), tokens[:12])
    assert first_choice(model, fork, tokens[:12]) == expected
    assert cache.tokens == tokens


def test_the_draw_at_a_position_depends_on_seed_and_position_alone(tiny_base: Path) -> None:
    model = LocalModel(tiny_base)

    def drawn(seed: str, hint: str = "") -> list[str]:
        session = model.session("the sun", author="base", sampling=Sampling(1.0, 0.9, seed))
        taken = [step.text for step in session.steps("", 12, Hint(hint))]
        session.close()
        return taken

    assert drawn("7") == drawn("7") == drawn("7", hint="".join(drawn("7"))) == drawn("7", hint=" away")
    assert len({tuple(drawn(str(seed))) for seed in range(8)}) > 4


# what cannot be used


def test_a_recurrent_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModelError, match="cannot be cropped"):
        steps_of(LocalModel(tiny_mamba(tmp_path)), "the sun")


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=r"no folder .*nowhere"):
        LocalModel(tmp_path / "nowhere").session("the sun", author="base")


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="cannot load"):
        LocalModel(tmp_path).session("the sun", author="base")


def test_a_model_that_the_hub_does_not_have() -> None:
    with pytest.raises(ModelNotFoundError, match="no-such-model"):
        LocalModel("nobody/no-such-model").session("the sun", author="base")


def test_a_device_that_is_not_there(tiny_base: Path) -> None:
    with pytest.raises(SettingsError, match="device='warp'"):
        LocalModel(tiny_base, device="warp").load()


def test_weights_that_are_damaged(tiny_base: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_base, tmp_path / "damaged")
    (folder / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(ModelNotFoundError, match="damaged"):
        LocalModel(folder).load()


# chat templates


def test_a_nudging_model_without_a_chat_template_says_what_to_pass(tiny_base: Path) -> None:
    nudger = Nudger(base_model=tiny_base, nudging_model=tiny_base)
    with pytest.raises(ChatTemplateError, match="nudging_template="):
        nudger.generate("why")


def test_a_template_that_is_passed_is_used(tiny_base: Path) -> None:
    nudger = Nudger(tiny_base, tiny_base, nudging_template="{% for m in messages %}[{{ m.content }}]{% endfor %}")
    assert nudger.prompts("why").nudging == "[why]"


def test_a_template_without_a_place_for_a_system_text_gets_it_with_the_first_question(
    tiny_nudging: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_nudging, tmp_path / "no-system")
    refusing = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    dropping = "{% for m in messages if m.role != 'system' %}<{{ m.content }}>{% endfor %}"
    for template in [refusing + dropping, dropping]:
        set_template(folder, template)
        messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "why"}]
        assert LocalModel(folder).tokenizer.render(messages) == "<Be brief.\nwhy>"


def test_a_template_that_fails_says_on_what(tiny_nudging: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_nudging, tmp_path / "failing")
    set_template(folder, "{{ raise_exception('roles must alternate') }}")
    with pytest.raises(ChatTemplateError, match=r"roles assistant, user: roles must alternate"):
        LocalModel(folder).tokenizer.render([{"role": "assistant", "content": "a"}, {"role": "user", "content": "b"}])


def set_template(folder: Path, template: str) -> None:
    (folder / "chat_template.jinja").write_text(template)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config.pop("chat_template", None)
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


# tools

ADD = {"type": "function", "function": {"name": "add", "description": "Add.", "parameters": {"type": "object"}}}
CALLED = [
    {"role": "user", "content": "1 + 2, add?"},
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": "x", "type": "function", "function": {"name": "add", "arguments": {"a": 1}}}],
    },
    {"role": "tool", "content": "three", "tool_call_id": "x"},
]
TOOL_TEMPLATE = (
    "{% for t in tools or [] %}<tool>{{ t.function.name }}{% endfor %}"
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}"
    "{% for c in m.tool_calls or [] %}<call>{{ c.function | tojson }}{% endfor %}{% endfor %}<|assistant|>"
)


def test_a_template_that_knows_tools_renders_them_itself(tiny_nudging: Path) -> None:
    text = LocalModel(tiny_nudging).tokenizer.render(CALLED, TOOL_TEMPLATE, [ADD])
    assert text.startswith("<tool>add<|user|>")
    assert '<call>{"name": "add", "arguments": {"a": 1}}' in text
    assert "<|tool|>three" in text


def test_a_template_that_knows_none_finds_them_in_plain_turns(tiny_nudging: Path) -> None:
    model = LocalModel(tiny_nudging)
    assert "You may call one or more functions" in model.tokenizer.render(CALLED[:1], tools=[ADD])
    text = model.tokenizer.render(CALLED, tools=[ADD])
    assert '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>' in text
    assert "<|user|><tool_response>\nthree\n</tool_response>" in text


def test_calls_are_read_by_the_tokenizers_own_parser_where_there_is_one(tiny_nudging: Path) -> None:
    model = LocalModel(tiny_nudging)
    text = 'Well. <<add|{"a": 1}>>'
    assert model.tokenizer.parse(text, "<|assistant|>", [ADD]) is None
    model.tokenizer.loaded.response_template = {
        "defaults": {"role": "assistant"},
        "start_anchor": "<|assistant|>",
        "fields": {
            "content": {},
            "tool_calls": {
                "open_pattern": r"<<(?P<name>\w+)\|",
                "close": ">>",
                "content": "json",
                "repeats": True,
                "transform": {"type": "function", "function": {"name": "{name}", "arguments": "{content}"}},
            },
        },
    }
    parsed = model.tokenizer.parse(text, "<|assistant|>", [ADD])
    assert parsed is not None
    assert parsed.tool_calls == (ToolCall("add", {"a": 1}),)
    assert parsed.content.strip() == "Well."
    assert model.tokenizer.parse("Well.", "<|assistant|>", [ADD]) is None
    assert model.tokenizer.parse("<<add|{oops>>", "<|assistant|>", [ADD]) is None
