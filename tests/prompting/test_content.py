"""Content in blocks becomes text: of any provider, with placeholders in a tool's results, and refused from users."""

from typing import Any

import pytest
from nudging import PromptError
from nudging._logging import log_once
from nudging.prompting.content import content_text

IMAGES: list[Any] = [
    {"type": "image", "source": {"type": "base64", "data": "x"}},
    {"type": "image_url", "image_url": {"url": "x"}},
    {"type": "input_image", "image_url": "x"},
]


def text(role: str, *blocks: Any) -> str:
    return content_text(list(blocks), role, "message 1")


@pytest.mark.parametrize(
    "block",
    [
        "Hi",
        {"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}},
        {"type": "input_text", "text": "Hi"},
        {"type": "output_text", "text": "Hi", "annotations": []},
        {"type": "refusal", "refusal": "Hi"},
        {"text": "Hi"},
    ],
)
@pytest.mark.parametrize("role", ["system", "user", "assistant", "tool"])
def test_text_of_any_provider_is_text(role: str, block: Any) -> None:
    assert text(role, block, {"type": "text", "text": "!"}) == "Hi!"


@pytest.mark.parametrize("content", [None, "", [], [{"type": "text", "text": None}], [{"type": "text"}]])
def test_no_text_is_empty_text(content: Any) -> None:
    assert content_text(content, "user", "message 1") == ""


@pytest.mark.parametrize("kind", ["thinking", "tool_use", "server_tool_call", "non_standard", "image", None])
def test_an_assistants_other_blocks_are_left_out(kind: Any) -> None:
    assert text("assistant", {"type": kind, "value": "x"}, {"type": "text", "text": "Hi"}) == "Hi"


def test_the_log_says_once_which_blocks_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    log_once.cache_clear()
    for _ in range(2):
        text("assistant", {"type": "thinking"}, {"type": "server_tool_call"})
    assert [record.getMessage() for record in caplog.records] == [
        "content of type 'server_tool_call' in a message of the assistant is left out: only text is used"
    ]


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_from_a_tool_is_a_placeholder_and_from_the_user_an_error(image: Any) -> None:
    assert text("tool", {"type": "text", "text": "A chart: "}, image) == "A chart: [image]"
    with pytest.raises(PromptError, match=f"message 1 has content of type '{image['type']}': only text is supported"):
        text("user", {"type": "text", "text": "Look: "}, image)


def test_resources_and_data_that_a_tool_returns_are_text() -> None:
    assert text("tool", {"type": "resource", "resource": {"uri": "file:///a", "text": "It rains."}}) == "It rains."
    assert text("tool", {"type": "resource_link", "uri": "file:///a"}) == "[resource]"
    assert text("tool", {"city": "Paris"}, 7) == '{"city": "Paris"}7'
    assert content_text({"city": "Zürich"}, "tool", "message 1") == '{"city": "Zürich"}'


def test_a_tool_result_block_is_shown_as_one() -> None:
    block = {"type": "tool_result", "tool_use_id": "x", "content": [{"type": "text", "text": "3"}, IMAGES[0]]}
    assert text("user", block) == "<tool_response>\n3[image]\n</tool_response>"
    assert text("tool", block) == "3[image]"


@pytest.mark.parametrize("content", [7, b"Hi", [7], [{"type": "text", "text": 7}]])
def test_content_of_the_user_that_is_not_text_is_an_error(content: Any) -> None:
    with pytest.raises(PromptError, match="message 1"):
        content_text(content, "user", "message 1")
