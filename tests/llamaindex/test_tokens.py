"""Tests of token counts: a prompt that fits by the documented tokenizer fits both models."""

from pathlib import Path

import pytest
from llama_index.core import Settings
from llama_index.core.indices.prompt_helper import PromptHelper
from llama_index.core.prompts.default_prompts import DEFAULT_TEXT_QA_PROMPT
from nudging import ScriptedModel
from nudging.models.local.model import LocalModel
from nudging.models.scripted import ScriptedTokenizer

from llamaindex_nudging import NudgingLLM, NudgingLLMError
from llamaindex_nudging.messages import conversation

SENTENCES = {
    "English": "The Eiffel Tower is 330 metres tall and stands in Paris. ",
    "Chinese": "埃菲尔铁塔位于法国巴黎战神广场，高三百三十米。",
    "Hindi": "एफिल टॉवर पेरिस में है और तीन सौ तीस मीटर ऊँचा है। ",
    "Python": "def height(tower):\n    return tower['metres']  # 330\n",
    "emoji": "🗼👨‍👩‍👧 ",
}


@pytest.fixture(scope="module")
def real(pair: tuple[Path, Path]) -> NudgingLLM:
    """An LLM of the real pair, whose weights are not loaded."""
    return NudgingLLM(base_model=LocalModel(pair[0]), nudging_model=LocalModel(pair[1]), max_tokens=1)


@pytest.mark.parametrize("language", SENTENCES)
def test_a_text_is_as_long_as_for_the_model_that_needs_more_tokens(real: NudgingLLM, language: str) -> None:
    tokenizers = real.nudger.base_model.tokenizer, real.nudger.nudging_model.tokenizer
    lengths = [len(tokenizer.encode(SENTENCES[language], special_tokens=False)) for tokenizer in tokenizers]
    tokens = real.tokenizer(SENTENCES[language])
    assert len(tokens) == max(lengths)
    assert all(isinstance(token, int) for token in tokens)


@pytest.mark.parametrize("language", SENTENCES)
def test_what_llamaindex_packs_into_a_prompt_fits_both_models(real: NudgingLLM, language: str) -> None:
    helper = PromptHelper.from_llm_metadata(real.metadata, tokenizer=real.tokenizer)
    text = SENTENCES[language] * (10_000 // len(real.tokenizer(SENTENCES[language])))
    packed = helper.repack(DEFAULT_TEXT_QA_PROMPT, [text])
    (truncated,) = helper.truncate(DEFAULT_TEXT_QA_PROMPT, [text])
    lengths = [longest_prompt(real, chunk) for chunk in (*packed, truncated)]
    assert len(packed) > 1
    assert 0.8 * 8192 < max(lengths) < 8192


def longest_prompt(llm: NudgingLLM, context: str) -> int:
    """Return the length of a prompt with this context, in tokens of the model that needs more of them."""
    nudger = llm.nudger
    messages = DEFAULT_TEXT_QA_PROMPT.format_messages(context_str=context, query_str="")
    prompts = nudger.prompts(conversation(messages))
    return max(
        len(nudger.base_model.tokenizer.encode(prompts.base, special_tokens=True)),
        len(nudger.nudging_model.tokenizer.encode(prompts.nudging, special_tokens=False)),
    )


@pytest.mark.usefixtures("own_settings")
def test_the_tokenizer_can_be_the_global_one(real: NudgingLLM) -> None:
    Settings.tokenizer = real.tokenizer
    assert Settings.tokenizer("The sky is blue.") == real.tokenizer("The sky is blue.")


@pytest.mark.parametrize("template", [None, "{{ messages[-1].content }}" + " and so on" * 40])
def test_the_window_leaves_room_for_the_templates(template: str | None) -> None:
    model = ScriptedModel("Yes.", context_length=200)
    llm = NudgingLLM(base_model=model, nudging_model=model, nudging_template=template)
    llm.complete("word " * (llm.metadata.context_window - 2))
    with pytest.raises(NudgingLLMError, match="has a context of 200"):
        llm.complete("word " * 199)


def test_the_template_is_rendered_once_for_the_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    model = ScriptedModel("Yes.", name="counted")
    rendered: list[object] = []
    monkeypatch.setattr(ScriptedTokenizer, "render", lambda self, *given, **_: rendered.append(given) or "assistant:")
    windows = {NudgingLLM(base_model=model, nudging_model=model).metadata.context_window for _ in range(3)}
    assert len(windows) == 1
    assert len(rendered) == 2
