"""llama.cpp in its slowest and simplest form, as a reference: nothing is kept between texts, and one token per pass."""

import ctypes
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
from numpy.typing import NDArray


class NaiveGGUF:
    """A GGUF file in llama.cpp. It shares no code with `nudging.models.llamacpp`, and no state between calls.

    Args:
        path: The file.
        bos: Start every text with BOS.
    """

    def __init__(self, path: Path, bos: bool) -> None:
        params = llama_cpp.llama_model_default_params()
        self._model: Any = llama_cpp.llama_model_load_from_file(str(path).encode(), params)
        self._vocabulary = llama_cpp.llama_model_get_vocab(self._model)
        self._size = llama_cpp.llama_vocab_n_tokens(self._vocabulary)
        self._bos = bos
        self._context: Any = None
        self._length = 0

    def complete(self, text: str, count: int) -> list[tuple[str, float, bool]]:
        """Return up to `count` greedy tokens: each one's text, top-1 probability, and True for an end token."""
        tokens = self.encode(text)
        steps: list[tuple[str, float, bool]] = []
        written, shown = b"", ""
        for token, probability in self._greedy(tokens, count):
            if llama_cpp.llama_vocab_is_eog(self._vocabulary, token):
                return [*steps, ("", probability, True)]
            written += self._piece(token)
            whole = _whole_characters(written)
            steps.append((whole[len(shown) :], probability, False))
            shown = whole
        return steps

    def alternatives(self, text: str, skipped: int) -> dict[str | None, float]:
        """Return the probability of each text (None is the end) among the top 20 tokens after `skipped` greedy ones."""
        tokens = self.encode(text)
        path = [token for token, _ in self._greedy(tokens, skipped)]
        logits = self.logits([*tokens, *path]).astype(np.float64)
        probabilities = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        before = b"".join(map(self._piece, path))
        found: dict[str | None, float] = {}
        for token in np.argsort(-probabilities, kind="stable")[:20]:
            is_end = llama_cpp.llama_vocab_is_eog(self._vocabulary, int(token))
            whole = _whole_characters(before + self._piece(int(token)))
            text = None if is_end else whole[len(_whole_characters(before)) :]
            found[text] = found.get(text, 0.0) + float(probabilities[token])
        return found

    def logprobs(self, text: str, answer: str) -> list[float]:
        """Return the log-probability of each token of the answer, one pass per token."""
        tokens, start = self.encode(text + answer), len(self.encode(text))
        rows = [self.logits(tokens[:end]).astype(np.float64) for end in range(start, len(tokens))]
        return [
            float(row[token] - row.max() - np.log(np.exp(row - row.max()).sum()))
            for row, token in zip(rows, tokens[start:], strict=True)
        ]

    def logits(self, tokens: list[int]) -> NDArray[np.float32]:
        """Return the logits after these tokens."""
        self._empty(len(tokens))
        return self._fed(tokens, 0)

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text."""
        data = text.encode()
        found = (llama_cpp.llama_token * (len(data) + 8))()
        count = llama_cpp.llama_tokenize(self._vocabulary, data, len(data), found, len(found), self._bos, True)
        return list(found[:count])

    def _greedy(self, tokens: list[int], count: int) -> list[tuple[int, float]]:
        self._empty(len(tokens) + count)
        chosen = []
        logits = self._fed(tokens, 0)
        for position in range(len(tokens), len(tokens) + count):
            if chosen:
                logits = self._fed([chosen[-1][0]], position - 1)
            token = int(logits.argmax())
            chosen.append((token, float(1 / np.exp(logits - logits[token]).sum())))
            if llama_cpp.llama_vocab_is_eog(self._vocabulary, token):
                break
        return chosen

    def _empty(self, length: int) -> None:
        """Empty the context, or replace it by one that has room for so many tokens."""
        if self._length >= length:
            llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self._context), True)
            return
        if self._context:
            llama_cpp.llama_free(self._context)
        params = llama_cpp.llama_context_default_params()
        self._length = params.n_ctx = -(-length // 512) * 512
        params.n_batch = params.n_ubatch = 512
        params.n_threads = params.n_threads_batch = 1
        self._context = llama_cpp.llama_init_from_model(self._model, params)

    def _fed(self, tokens: list[int], start: int) -> NDArray[np.float32]:
        for at in range(0, len(tokens), 512):
            part = tokens[at : at + 512]
            batch = llama_cpp.llama_batch_init(len(part), 0, 1)
            for index, token in enumerate(part):
                batch.token[index], batch.pos[index] = token, start + at + index
                batch.n_seq_id[index], batch.seq_id[index][0] = 1, 0
                batch.logits[index] = index == len(part) - 1
            batch.n_tokens = len(part)
            code = llama_cpp.llama_decode(self._context, batch)
            llama_cpp.llama_batch_free(batch)
            assert code == 0
        return np.array(np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(self._context, -1), (self._size,)))

    def _piece(self, token: int) -> bytes:
        buffer = ctypes.create_string_buffer(256)
        length = llama_cpp.llama_token_to_piece(self._vocabulary, token, buffer, 256, 0, False)
        return buffer.raw[:length]


def _whole_characters(written: bytes) -> str:
    """Return bytes as text, without a character at the end that may still be completed."""
    for length in range(1, min(4, len(written) + 1)):
        if _is_unfinished(written[-length:]):
            return written[:-length].decode(errors="replace")
    return written.decode(errors="replace")


def _is_unfinished(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return error.reason == "unexpected end of data" and error.start == 0
    return False
