"""The chat template of every model family renders the prompt that the vendor's documentation shows."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from nudging import Nudger, ScriptedModel
from nudging.models.local.model import LocalModel
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from transformers import LlamaConfig, PreTrainedTokenizerFast

TEMPLATES = Path(__file__).parents[1] / "templates"
SYSTEM = {"role": "system", "content": "Be brief."}
USER = {"role": "user", "content": "Why?"}
CHAT = [USER, {"role": "assistant", "content": "So."}, {"role": "user", "content": "How?"}]


class Family(NamedTuple):
    """A model family's special tokens and the prompts that are expected of it.

    Args:
        bos: The token at the start of a text, if there is one.
        eos: The token at the end of a turn.
        adds_bos: True if the tokenizer adds `bos` to a text.
        with_system: The prompt of a question with a system message.
        without: The prompt of a question alone.
        chat: The prompt of a chat of two questions.
    """

    bos: str | None
    eos: str
    adds_bos: bool
    with_system: str
    without: str
    chat: str


LLAMA_3_DATE = "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n"
QWEN = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
SMOLLM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"


def llama_3(system: str, *turns: tuple[str, str]) -> str:
    messages = [("system", LLAMA_3_DATE + system), *turns]
    return (
        "<|begin_of_text|>"
        + "".join(f"<|start_header_id|>{role}<|end_header_id|>\n\n{text}<|eot_id|>" for role, text in messages)
        + "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )


def chatml(*turns: tuple[str, str]) -> str:
    return "".join(f"<|im_start|>{role}\n{text}<|im_end|>\n" for role, text in turns) + "<|im_start|>assistant\n"


GEMMA_CHAT = (
    "<bos><start_of_turn>user\nWhy?<end_of_turn>\n<start_of_turn>model\nSo.<end_of_turn>\n"
    "<start_of_turn>user\nHow?<end_of_turn>\n<start_of_turn>model\n"
)
GEMMA_QUESTION = "<bos><start_of_turn>user\nWhy?<end_of_turn>\n<start_of_turn>model\n"
TURNS = (("user", "Why?"), ("assistant", "So."), ("user", "How?"))
LLAMA_3 = Family(
    "<|begin_of_text|>",
    "<|eot_id|>",
    True,
    llama_3("Be brief.", ("user", "Why?")),
    llama_3("", ("user", "Why?")),
    llama_3("", *TURNS),
)

FAMILIES = {
    "llama-2-chat": Family(
        "<s>",
        "</s>",
        True,
        "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nWhy? [/INST]",
        "<s>[INST] Why? [/INST]",
        "<s>[INST] Why? [/INST] So. </s><s>[INST] How? [/INST]",
    ),
    # its template has no system role: the authors put the system text on a line before the question
    "gemma-2-it": Family(
        "<bos>",
        "<eos>",
        True,
        "<bos><start_of_turn>user\nBe brief.\nWhy?<end_of_turn>\n<start_of_turn>model\n",
        GEMMA_QUESTION,
        GEMMA_CHAT,
    ),
    # its template drops a system message silently. Its BOS is the end token, and the template writes it
    "olmo-instruct": Family(
        None,
        "<|endoftext|>",
        False,
        "<|endoftext|><|user|>\nBe brief.\nWhy?\n<|assistant|>\n",
        "<|endoftext|><|user|>\nWhy?\n<|assistant|>\n",
        "<|endoftext|><|user|>\nWhy?\n<|assistant|>\nSo.<|endoftext|>\n<|user|>\nHow?\n<|assistant|>\n",
    ),
    "llama-3.1-instruct": LLAMA_3,
    "llama-3.2-instruct": LLAMA_3,
    "qwen2.5-instruct": Family(
        None,
        "<|im_end|>",
        False,
        chatml(("system", "Be brief."), ("user", "Why?")),
        chatml(("system", QWEN), ("user", "Why?")),
        chatml(("system", QWEN), *TURNS),
    ),
    "smollm2-instruct": Family(
        "<|im_start|>",
        "<|im_end|>",
        False,
        chatml(("system", "Be brief."), ("user", "Why?")),
        chatml(("system", SMOLLM), ("user", "Why?")),
        chatml(("system", SMOLLM), *TURNS),
    ),
    "mistral-7b-instruct-v0.2": Family(
        "<s>",
        "</s>",
        True,
        "<s>[INST] Be brief.\nWhy? [/INST]",
        "<s>[INST] Why? [/INST]",
        "<s>[INST] Why? [/INST]So.</s>[INST] How? [/INST]",
    ),
    # its template puts the system text into the last question
    "mistral-nemo-instruct": Family(
        "<s>",
        "</s>",
        True,
        "<s>[INST]Be brief.\n\nWhy?[/INST]",
        "<s>[INST]Why?[/INST]",
        "<s>[INST]Why?[/INST]So.</s>[INST]How?[/INST]",
    ),
    # its template puts the system text into the first question
    "gemma-3-it": Family(
        "<bos>",
        "<eos>",
        True,
        "<bos><start_of_turn>user\nBe brief.\n\nWhy?<end_of_turn>\n<start_of_turn>model\n",
        GEMMA_QUESTION,
        GEMMA_CHAT,
    ),
}

Open = Callable[[str], LocalModel]


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Open:
    """Open a model of a family, without weights: its template and special tokens, and a tokenizer of single bytes."""

    def model(name: str) -> LocalModel:
        family, folder = FAMILIES[name], tmp_path_factory.mktemp(name)
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        bytewise = Tokenizer(models.BPE({byte: number for number, byte in enumerate(alphabet)}, []))
        bytewise.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        bytewise.decoder = decoders.ByteLevel()
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=bytewise,
            bos_token=family.bos,
            eos_token=family.eos,
            chat_template=(TEMPLATES / f"{name}.jinja").read_text(),
        )
        if family.adds_bos:
            start = (family.bos, tokenizer.convert_tokens_to_ids(family.bos))
            tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
                single=f"{family.bos} $A", special_tokens=[start]
            )
        tokenizer.save_pretrained(folder)
        LlamaConfig(vocab_size=len(tokenizer)).save_pretrained(folder)
        return LocalModel(folder)

    return model


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_gets_its_documented_prompt(opened: Open, name: str) -> None:
    family, model = FAMILIES[name], opened(name)
    assert model.tokenizer.render([SYSTEM, USER]) == family.with_system
    assert model.tokenizer.render([USER]) == family.without
    assert model.tokenizer.render(CHAT) == family.chat


@pytest.mark.parametrize("name", FAMILIES)
def test_the_prompt_has_one_bos(opened: Open, name: str) -> None:
    """The template writes the BOS, so encoding must add none."""
    family, model = FAMILIES[name], opened(name)
    prompt = model.tokenizer.render([SYSTEM, USER])
    bos = family.bos or family.eos
    bos_id = model.tokenizer.vocabulary[bos]
    tokens = model.tokenizer.encode(prompt, special_tokens=False)
    assert tokens.count(bos_id) == prompt.count(bos)
    if prompt.startswith(bos):
        assert tokens[0] == bos_id
        assert tokens[1] != bos_id
    assert model.session(prompt, author="nudging").usage().prompt_tokens == len(tokens)
    assert len(model.tokenizer.encode(prompt, special_tokens=True)) == len(tokens) + family.adds_bos


@pytest.mark.parametrize("name", FAMILIES)
def test_a_system_message_appears_exactly_once(opened: Open, name: str) -> None:
    model = opened(name)
    chat = [SYSTEM, *CHAT]
    assert model.tokenizer.render(chat).count("Be brief.") == 1


@pytest.mark.parametrize("name", FAMILIES)
def test_the_prompt_is_the_same_every_day(opened: Open, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers.utils import chat_template_utils

    class Tomorrow(chat_template_utils.datetime):
        @classmethod
        def now(cls, tz: object = None) -> "chat_template_utils.datetime":
            return cls(2031, 1, 2)

    monkeypatch.setattr(chat_template_utils, "datetime", Tomorrow)
    chat_template_utils._compile_jinja_template.cache_clear()
    assert opened(name).tokenizer.render([SYSTEM, USER]) == FAMILIES[name].with_system


def test_a_passed_template_can_set_its_own_date(opened: Open) -> None:
    template = "{% set date_string = '1 Jan 2030' %}" + (TEMPLATES / "llama-3.2-instruct.jinja").read_text()
    nudger = Nudger(ScriptedModel("Hi"), opened("llama-3.2-instruct"), nudging_template=template)
    assert "Today Date: 1 Jan 2030\n" in nudger.prompts("Why?").nudging
