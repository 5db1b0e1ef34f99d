"""Tokenizers for models on servers: the server's own, or one from a folder."""

from pathlib import Path

import pytest
from nudging import ChatTemplateError, Nudger, SettingsError, UnsupportedModelError
from standin import QUESTIONS, StandIn, remote

pytestmark = [pytest.mark.enable_socket, pytest.mark.usefixtures("short_waits")]


def test_a_server_without_tokenize_works_with_a_tokenizer_from_a_folder(
    servers: tuple[StandIn, StandIn], local: Nudger, tiny_base: Path, tiny_nudging: Path
) -> None:
    for server in servers:
        server.tokenizes = False
    nudger = remote(servers, base_tokenizer=str(tiny_base), nudging_tokenizer=str(tiny_nudging))
    conversation = [{"role": "system", "content": "the sun"}, {"role": "user", "content": QUESTIONS[0]}]
    assert nudger.prompts(conversation) == local.prompts(conversation)
    for question in QUESTIONS:
        assert nudger.generate(question).pieces == local.generate(question).pieces


def test_the_error_for_a_server_without_tokenize_says_what_to_pass(servers: tuple[StandIn, StandIn]) -> None:
    servers[0].tokenizes = False
    with pytest.raises(UnsupportedModelError, match=r"/tokenize.*base_tokenizer"):
        remote(servers).generate(QUESTIONS[0])
    servers[1].tokenizes = False
    with pytest.raises(ChatTemplateError, match="nudging_tokenizer"):
        remote(servers).generate(QUESTIONS[0])
    with pytest.raises(SettingsError, match="base_url"):
        Nudger("big", "small", base_tokenizer="big")
