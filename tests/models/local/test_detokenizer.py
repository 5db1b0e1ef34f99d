"""Token ids become text in whole characters, also where a token ends within a character."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from nudging.models.local.detokenizer import Detokenizer
from transformers import AutoTokenizer

TEXTS = [
    "Hello there, you two.",
    "你好，世界！",
    "مرحبا بالعالم",
    "👩‍👩‍👧 and 🇫🇷!",
    "naïve café\n\n  two  spaces ",
    "ﬁ ① Å",
]


@pytest.fixture(scope="module", params=["gemma", "smollm", "byte-level"])
def tokenizer(request: pytest.FixtureRequest, pair: tuple[Path, Path], tiny_nudging: Path) -> object:
    folder = {"gemma": pair[0], "smollm": pair[1], "byte-level": tiny_nudging}[request.param]
    return AutoTokenizer.from_pretrained(folder)


def pushed(tokenizer: object, prefix: str, text: str) -> list[str]:
    before = tokenizer.encode(prefix, add_special_tokens=False)  # type: ignore[attr-defined]
    whole = tokenizer.encode(prefix + text, add_special_tokens=False)  # type: ignore[attr-defined]
    assert whole[: len(before)] == before, "choose a prefix that ends at the end of a token"
    detokenizer = Detokenizer(tokenizer, before)
    return [detokenizer.push(token) for token in whole[len(before) :]]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("prefix", ["", "Say:"])
def test_tokens_add_up_to_the_text_in_whole_characters(tokenizer: object, prefix: str, text: str) -> None:
    parts = pushed(tokenizer, prefix, text)
    assert "".join(parts) == text
    assert not any("\ufffd" in part for part in parts)


@given(text=st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_that_the_tokenizer_can_encode_is_reproduced(tokenizer: object, text: str) -> None:
    decoded = tokenizer.decode(  # type: ignore[attr-defined]
        tokenizer.encode(text, add_special_tokens=False),  # type: ignore[attr-defined]
        skip_special_tokens=True,
    )
    assume(decoded == text)  # some rare characters are not in a vocabulary
    assert "".join(pushed(tokenizer, "", text)) == text


def test_a_long_prefix_of_single_bytes_does_not_spoil_the_text_after_it(tokenizer: object) -> None:
    assert "".join(pushed(tokenizer, "𝙐ࠀ" * 20, "𝙐ǻ")) == "𝙐ǻ"


def test_special_tokens_add_nothing(tokenizer: object) -> None:
    assert Detokenizer(tokenizer, []).push(tokenizer.eos_token_id) == ""  # type: ignore[attr-defined]
