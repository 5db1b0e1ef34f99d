"""Logit ensemble and proxy tuning against naive implementations, token by token, and in their limiting cases."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from naive import NaiveModel
from nudging import ModelError, PromptError, Prompts, ScriptedModel, SettingsError, UnsupportedModelError
from nudging.evaluation.baselines import Generation, LogitEnsemble, ProxyTuning
from nudging.models.base import Sampling
from nudging.models.local.model import LocalModel
from nudging.models.local.weights import Weights
from tiny import tiny_llama
from transformers import AutoModelForCausalLM

QUESTION = "the sky is blue, why is that so far away"
MESSAGES = [{"role": "system", "content": "say so"}, {"role": "user", "content": QUESTION}]
BASE_PROMPT = f"say so\n{QUESTION}\n"
CHAT_PROMPT = f"<|system|>say so\n<|user|>{QUESTION}\n<|assistant|>"
LENGTH = 40

Family = dict[str, Path]
Mix = Callable[..., torch.Tensor]


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Family:
    """Models with one tokenizer. The embedding of the tuned model is padded, as is common."""
    folder = tmp_path_factory.mktemp("family")
    models = {name: tiny_llama(folder / name, seed) for seed, name in enumerate(("base", "tuned", "untuned"))}
    weights = AutoModelForCausalLM.from_pretrained(models["tuned"])
    weights.resize_token_embeddings(weights.config.vocab_size + 14, mean_resizing=False)
    with torch.no_grad():
        weights.lm_head.weight[-14:] = weights.lm_head.weight[:14] * 9  # the padding would win if it were not cut off
    weights.save_pretrained(models["tuned"])
    return models


def naive_mixture(models: list[tuple[Path, str]], mix: Mix, limit: int) -> tuple[str, str, int]:
    """Return text, finish reason and number of tokens, with a pass over the whole sequence for every token."""
    naive = [NaiveModel(str(folder), bos=False) for folder, _ in models]
    paths = [one.tokenizer.encode(prompt) for one, (_, prompt) in zip(naive, models, strict=True)]
    size, ends = len(naive[0].tokenizer), set.union(*(one.ends for one in naive))
    answer: list[int] = []
    for _ in range(limit):
        with torch.no_grad():
            rows = [
                one.weights(torch.tensor([path + answer]), use_cache=False).logits[0, -1, :size]
                for one, path in zip(naive, paths, strict=True)
            ]
        answer.append(int(mix(*rows).argmax()))
        if answer[-1] in ends:
            return naive[0]._decode(answer[:-1]), "stop", len(answer)
    return naive[0]._decode(answer), "length", len(answer)


def base_answer(model: Path, prompt: str, limit: int, sampling: Sampling | None = None) -> str:
    """Return the answer of one model to a plain prompt."""
    session = LocalModel(model).session(prompt, author="base", sampling=sampling)
    return "".join(step.text for step in session.steps("", limit))


def assert_same(mixture: Generation, expected: tuple[str, str, int]) -> None:
    text, reason, tokens = expected
    # decode() shows the bytes of an unfinished character; our detokenizer holds them back
    assert mixture.text == text.rstrip("\ufffd")
    assert (mixture.finish_reason, mixture.tokens) == (reason, tokens)


@pytest.mark.parametrize("weight", [0.25, 0.5, 0.8, 1.0])
def test_an_ensemble_equals_its_formula_on_full_logits(family: Family, weight: float) -> None:
    answer = LogitEnsemble(family["base"], family["tuned"], weight).generate(MESSAGES, max_tokens=LENGTH)
    models = [(family["base"], BASE_PROMPT), (family["tuned"], CHAT_PROMPT)]
    assert_same(answer, naive_mixture(models, lambda base, tuned: (1 - weight) * base + weight * tuned, LENGTH))


@pytest.mark.parametrize("alpha", [0.3, 1.0, 1.7, -0.5])
def test_proxy_tuning_equals_its_formula_on_full_logits(family: Family, alpha: float) -> None:
    proxy = ProxyTuning(family["base"], family["tuned"], family["untuned"], alpha)
    answer = proxy.generate(MESSAGES, max_tokens=LENGTH)
    models = [(family["base"], BASE_PROMPT), (family["tuned"], CHAT_PROMPT), (family["untuned"], BASE_PROMPT)]
    assert_same(answer, naive_mixture(models, lambda base, tuned, untuned: base + alpha * (tuned - untuned), LENGTH))


@settings(max_examples=15)
@given(prompt=st.text("the sky blue\n🙂", min_size=1, max_size=30), temperature=st.sampled_from([0.0, 0.9]))
def test_without_weight_the_answer_is_that_of_the_base_model(family: Family, prompt: str, temperature: float) -> None:
    both = Prompts(base=prompt, nudging="why " + prompt)
    sampling = Sampling(temperature, 1.0, "7:base") if temperature else None
    expected = base_answer(family["base"], prompt, 12, sampling)
    for mixture in (
        LogitEnsemble(family["base"], family["tuned"], weight=0),
        ProxyTuning(family["base"], family["tuned"], family["untuned"], alpha=0),
    ):
        assert mixture.generate(both, max_tokens=12, temperature=temperature, seed=7).text == expected


@settings(max_examples=15)
@given(prompt=st.text("the sky blue\n🙂", min_size=1, max_size=30), alpha=st.floats(-3, 3))
def test_an_untuned_proxy_changes_nothing(family: Family, prompt: str, alpha: float) -> None:
    """Both small models get one prompt. With a chat prompt, even the same model would give other logits."""
    proxy = ProxyTuning(family["base"], family["untuned"], family["untuned"], alpha)
    answer = proxy.generate(Prompts(base=prompt, nudging=prompt), max_tokens=12)
    assert answer.text == base_answer(family["base"], prompt, 12)


def test_a_model_mixed_with_itself_answers_as_it_does_alone(family: Family) -> None:
    ensemble = LogitEnsemble(family["base"], family["base"])
    answer = ensemble.generate(Prompts(base="so", nudging="so"), max_tokens=LENGTH)
    assert answer.text == base_answer(family["base"], "so", LENGTH)


def test_each_token_is_fed_to_each_model_once(family: Family) -> None:
    answer = ProxyTuning(family["base"], family["tuned"], family["untuned"]).generate(MESSAGES, max_tokens=LENGTH)
    assert set(answer.usage) == {"base_model", "tuned_model", "untuned_model"}
    for usage in answer.usage.values():
        assert usage.forward_passes == answer.tokens
        assert usage.tokens_fed == usage.prompt_tokens + answer.tokens - 1


def test_a_stop_string_ends_the_answer_and_is_not_part_of_it(family: Family) -> None:
    ensemble = LogitEnsemble(family["base"], family["tuned"])
    whole = ensemble.generate(QUESTION, max_tokens=LENGTH).text
    stop = whole[5:8]
    cut = ensemble.generate(QUESTION, max_tokens=LENGTH, stop=stop)
    assert cut.text == whole[: whole.index(stop)]
    assert cut.finish_reason == "stop"


@pytest.mark.parametrize("whose", ["base", "tuned"])
def test_an_end_token_of_any_model_ends_the_answer(family: Family, whose: str) -> None:
    naive = NaiveModel(str(family["base"]), bos=False)
    end = int(naive.weights(torch.tensor([naive.tokenizer.encode("so")])).logits[0, -1].argmax())
    models = {name: LocalModel(family[name]) for name in ("base", "tuned")}
    models[whose].weights.load().generation_config.eos_token_id = [end]
    answer = LogitEnsemble(models["base"], models["tuned"], weight=0).generate(Prompts(base="so", nudging="so"))
    assert (answer.text, answer.finish_reason, answer.tokens) == ("", "stop", 1)


def test_an_answer_ends_where_a_context_is_full(tmp_path: Path) -> None:
    long, short = tiny_llama(tmp_path / "long", 1), tiny_llama(tmp_path / "short", 2, context=64)
    both = Prompts(base="so", nudging="the sky is blue and " * 2)
    answer = LogitEnsemble(long, short, weight=0.1).generate(both)
    assert answer.finish_reason == "length"
    assert answer.tokens == 64 - answer.usage["nudging_model"].prompt_tokens


def test_a_seed_gives_the_same_answer_again(family: Family) -> None:
    ensemble = LogitEnsemble(family["base"], family["tuned"])
    first, again = (ensemble.generate(QUESTION, temperature=1.5, seed=3, max_tokens=LENGTH).text for _ in range(2))
    assert first == again
    assert first != ensemble.generate(QUESTION, temperature=1.5, seed=4, max_tokens=LENGTH).text


def test_instructions_are_a_system_message(family: Family) -> None:
    ensemble = LogitEnsemble(family["base"], family["tuned"])
    assert ensemble.generate(QUESTION, instructions="say so", max_tokens=9) == ensemble.generate(MESSAGES, max_tokens=9)
    with pytest.raises(PromptError, match="instructions are a message"):
        ensemble.generate(Prompts(base="a", nudging="b"), instructions="say so")


def test_different_vocabularies_raise_with_the_first_difference_before_weights_are_loaded(
    family: Family, tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Weights, "load", lambda self: pytest.fail("weights were loaded"))
    with pytest.raises(ModelError) as caught:
        LogitEnsemble(family["base"], tiny_base)
    message = str(caught.value)
    assert message.startswith(
        f"{family['base']} and {tiny_base} do not have one vocabulary: token 1 is '!' in the first"
    )
    assert "'<start>' in the second" in message
    with pytest.raises(ModelError, match="do not have one vocabulary"):
        ProxyTuning(family["base"], family["tuned"], tiny_base)


def test_a_vocabulary_with_more_tokens_raises(family: Family, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    more = tiny_llama(tmp_path / "more")
    tokenizer = AutoTokenizer.from_pretrained(more)
    tokenizer.add_tokens(["<pad>"])
    tokenizer.save_pretrained(more)
    with pytest.raises(ModelError, match="is missing in the first and '<pad>' in the second"):
        LogitEnsemble(family["base"], more)


def test_a_model_that_is_not_local_raises(family: Family) -> None:
    with pytest.raises(
        UnsupportedModelError, match="nudging_model='scripted' is a ScriptedModel, and LogitEnsemble mixes"
    ):
        LogitEnsemble(family["base"], ScriptedModel("Hi"))


@pytest.mark.parametrize("weight", [-0.1, 1.1, float("nan")])
def test_a_weight_out_of_range_raises(family: Family, weight: float) -> None:
    with pytest.raises(SettingsError, match="weight="):
        LogitEnsemble(family["base"], family["tuned"], weight)


def test_an_infinite_alpha_raises(family: Family) -> None:
    with pytest.raises(SettingsError, match="alpha=inf"):
        ProxyTuning(family["base"], family["tuned"], family["untuned"], float("inf"))


def test_settings_are_checked(family: Family) -> None:
    ensemble = LogitEnsemble(family["base"], family["tuned"])
    with pytest.raises(SettingsError, match="max_tokens=0"):
        ensemble.generate(QUESTION, max_tokens=0)
    with pytest.raises(PromptError, match="the prompt is empty"):
        ensemble.generate("")
