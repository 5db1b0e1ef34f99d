"""The vocabulary of a GGUF file: tokens, bytes, end tokens, and BOS."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nudging.models.llamacpp.model import LlamaCppModel
from nudging.models.llamacpp.vocabulary import BytesDetokenizer, Vocabulary
from tiny_gguf import OTHER, llama_gguf, tokenizer_of
from tiny_gguf import Vocabulary as Tiny
from tokenizers import pre_tokenizers
from transformers import AutoTokenizer

TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=30) | st.lists(
    st.sampled_from(
        [
            "1. a\n 2. b",
            "²",
            "\x85",
            "\u00a0",
            "The",
            " sky",
            " is",
            "\n\n",
            "  ",
            "\t",
            "n't",
            "'s",
            " 1234",
            "é",
            "你好",
            "🌍",
            "👩‍👩‍👧",
            "def f(x):\n    ",
            "...",
            "ß",
            "\u0301",
        ]
    ),
    max_size=10,
).map("".join)


def vocabulary_of(path: Path) -> Vocabulary:
    return LlamaCppModel(path).engine.load().vocabulary


def test_all_tokens_that_end_a_turn_are_end_tokens(tmp_path: Path) -> None:
    tiny = Tiny(turn=True)
    ids = tokenizer_of(tiny).convert_tokens_to_ids(["<end>", "<turn>"])
    assert vocabulary_of(llama_gguf(tmp_path / "turn.gguf", vocabulary=tiny)).end_tokens == set(ids)


def test_the_end_tokens_of_the_real_models(real_files: tuple[Path, Path]) -> None:
    for path, expected in zip(real_files, ({"<eos>", "<end_of_turn>"}, {"<|im_end|>", "<|endoftext|>"}), strict=True):
        model = LlamaCppModel(path)
        assert expected <= {model.engine.load().vocabulary.text(token) for token in model.engine.end_tokens}


@given(TEXTS)
def test_text_becomes_the_tokens_of_the_tokenizer_it_was_trained_with(files: dict[str, Path], text: str) -> None:
    for kind, tiny in (("llama", Tiny()), ("base", OTHER)):
        vocabulary = loaded(files[kind]).engine.load().vocabulary
        tokens = vocabulary.tokenize(text)
        assert tokens == tokenizer_of(tiny).encode(text, add_special_tokens=False)
        assert b"".join(vocabulary.piece(token) for token in tokens).decode() == text


_models: dict[Path, LlamaCppModel] = {}


def loaded(path: Path) -> LlamaCppModel:
    return _models.setdefault(path, LlamaCppModel(path))


@pytest.mark.parametrize("side", [0, 1], ids=["base", "nudging"])
def test_the_real_tokenizers_are_those_of_transformers(
    real_files: tuple[Path, Path], pair: tuple[Path, Path], side: int
) -> None:
    model, tokenizer = loaded(real_files[side]), AutoTokenizer.from_pretrained(pair[side])
    if side == 1:  # SmolLM2 splits digits first. transformers forgets that when it converts a GGUF file
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )

    @given(TEXTS)
    @settings(max_examples=200)
    def check(text: str) -> None:
        for special_tokens in (False, True):
            expected = tokenizer.encode(text, add_special_tokens=special_tokens)
            assert model.tokenizer.encode(text, special_tokens=special_tokens) == expected

    check()


@given(TEXTS)
def test_a_detokenizer_gives_whole_characters(files: dict[str, Path], text: str) -> None:
    vocabulary = loaded(files["llama"]).engine.load().vocabulary
    detokenizer = BytesDetokenizer(vocabulary)
    added = [detokenizer.push(token) for token in vocabulary.tokenize(text)]
    assert "".join(added) == text
    assert "\ufffd" not in "".join(added) or "\ufffd" in text


def test_the_bytes_of_an_emoji_are_held_back(files: dict[str, Path]) -> None:
    vocabulary = loaded(files["llama"]).engine.load().vocabulary
    detokenizer = BytesDetokenizer(vocabulary)
    assert [detokenizer.push(token) for token in vocabulary.tokenize("🌍!")] == ["", "", "", "🌍", "!"]


def test_special_tokens_are_recognised_and_have_no_text(tmp_path: Path) -> None:
    tiny = Tiny(turn=True, bos=True)
    vocabulary = vocabulary_of(llama_gguf(tmp_path / "turn.gguf", vocabulary=tiny))
    for name in ("<end>", "<turn>", "<start>"):
        (token,) = vocabulary.tokenize(name)
        assert vocabulary.piece(token) == b""
        assert vocabulary.text(token) == name
    assert [vocabulary.text(token) for token in (-1, vocabulary.size)] == ["", ""]


def test_the_vocabulary_of_a_model_has_every_token(files: dict[str, Path]) -> None:
    assert loaded(files["llama"]).vocabulary == tokenizer_of(Tiny()).get_vocab()
