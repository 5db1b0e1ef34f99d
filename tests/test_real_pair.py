"""The real pair: reuse of KV caches, threads, chats, and many scripts."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from nudging import Nudger
from nudging.models.local.model import LocalModel

DOCUMENT = {
    "role": "system",
    "content": "You are a helpful assistant. Answer from this text: The Eiffel Tower was completed in 1889. "
    "It is 330 metres tall. " + "It stands in Paris, on the Champ de Mars, near the Seine. " * 8,
}


def chat_about(question: str) -> list[dict[str, str]]:
    return [DOCUMENT, {"role": "user", "content": question}]


def test_the_second_question_on_a_document_does_not_prefill_it_again(demo: Nudger) -> None:
    # a short lookahead, so that the base model is used before the nudging model ends its turn
    settings = {"lookahead": 4, "max_tokens": 12}
    first = demo.generate(chat_about("How tall is the tower?"), **settings).usage
    second = demo.generate(chat_about("When was it completed?"), **settings).usage
    for before, after in [(first.base, second.base), (first.nudging, second.nudging)]:
        assert before.prompt_tokens > 100
        assert after.tokens_fed < after.prompt_tokens / 2


def test_a_chat_reuses_the_cache_of_its_earlier_answers(demo: Nudger) -> None:
    chat = chat_about("How tall is the tower?")
    chat.append({"role": "assistant", "content": demo.generate(chat, max_tokens=16).text})
    chat.append({"role": "user", "content": "And where does it stand?"})
    usage = demo.generate(chat, max_tokens=16).usage
    assert usage.nudging.tokens_fed < usage.nudging.prompt_tokens / 2


def test_concurrent_threads_change_no_answer(demo: Nudger) -> None:
    questions = ["What is the capital of France?", "Name a colour.", "What is the capital of France?"]
    alone = [demo.generate(question, max_tokens=12).pieces for question in questions]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(lambda question: demo.generate(question, max_tokens=12).pieces, questions))
    assert together == alone


def test_all_scripts_stream_in_whole_characters(demo: Nudger) -> None:
    for question in ["用中文打个招呼", "قل مرحبا", "Three emoji, please: 🌍"]:
        pieces = list(demo.stream(question, max_tokens=16, threshold=0.2))
        assert "".join(piece.text for piece in pieces) == demo.generate(question, max_tokens=16, threshold=0.2).text
        assert not any("\ufffd" in piece.text for piece in pieces)


def test_a_seed_gives_the_same_answer_with_hints_and_without(demo: Nudger, pair: tuple[Path, Path]) -> None:
    drawn = {"temperature": 0.9, "top_p": 0.95, "seed": 11, "max_tokens": 12}
    question = "Tell me something about the sea."
    answer = demo.generate(question, **drawn)
    without_hints = Nudger(*map(LocalModel, pair), hints=False)  # separate models: no cache has the answer
    assert without_hints.generate(question, **drawn).pieces == answer.pieces
    assert demo.generate(question, **{**drawn, "seed": 12}).text != answer.text
