"""The rule in its slowest and simplest form, as a reference: no cache, no hints, and no code shared with the engine.

Every token is a forward pass over the whole text, and every text is tokenized and decoded as a whole. The engine must
give the same answers.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


class NaiveModel:
    """A model and its tokenizer, without any optimisation."""

    def __init__(self, folder: str, bos: bool) -> None:
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self.weights: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        self.bos = bos
        ends = [self.weights.generation_config.eos_token_id, self.tokenizer.eos_token_id]
        self.ends = {end for one in ends for end in (one if isinstance(one, list) else [one])}

    def complete(self, text: str, count: int) -> list[tuple[str, float, bool]]:
        """Return up to `count` greedy tokens: each one's text, top-1 probability, and True for an end token."""
        ids = self.tokenizer.encode(text, add_special_tokens=self.bos)
        decoded = len(self._decode(ids))
        steps = []
        for _ in range(count):
            with torch.no_grad():
                logits = self.weights(torch.tensor([ids]), use_cache=False).logits[0, -1]
            token = int(logits.argmax())
            probability = float(logits.float().softmax(-1)[token])
            if token in self.ends:
                return [*steps, ("", probability, True)]
            ids = [*ids, token]
            whole = self._decode(ids)
            added = "" if whole.endswith("\ufffd") else whole[decoded:]
            decoded += len(added)
            steps.append((added, probability, False))
        return steps

    def _decode(self, ids: list[int]) -> str:
        return str(self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))


@dataclass
class NaiveAnswer:
    rounds: list[str] = field(default_factory=list)
    nudging_words: list[str] = field(default_factory=list)
    finish_reason: str = "unfinished"

    @property
    def text(self) -> str:
        return "".join(self.rounds)


def naive_answer(
    base: NaiveModel, nudging: NaiveModel, base_prompt: str, nudging_prompt: str, *, threshold: float, until: int
) -> NaiveAnswer:
    """Return the answer, or its first rounds that have more than `until` characters together."""
    answer = NaiveAnswer()
    while len(answer.text) <= until:
        text = answer.text
        proposal = nudging.complete(nudging_prompt + text, 16)
        proposed = "".join(step[0] for step in proposal)
        if proposal[-1][2]:
            answer.nudging_words.append(proposed)
            answer.rounds.append(proposed)
            answer.finish_reason = "stop"
            return answer

        words, token = handover(base, base_prompt + text, proposed, threshold)
        if (answer.nudging_words or [""])[-3:] == [words] * 3 or (
            not words and len(answer.nudging_words) == 2 and not any(answer.nudging_words)
        ):
            answer.finish_reason = "loop"
            return answer
        answer.nudging_words.append(words)
        answer.rounds.append(words + (base_run(base, base_prompt, text + words, threshold) if token else ""))
    return answer


def handover(base: NaiveModel, so_far: str, proposed: str, threshold: float) -> tuple[str, bool]:
    """Return the nudging words, and True if the base model takes over after them."""
    spaces = proposed[: len(proposed) - len(proposed.lstrip(" "))]
    words = proposed.lstrip(" ").split(" ")
    if len(words) == 1:
        return proposed, False
    for i in range(1, len(words)):
        if words[i] == "":
            continue
        before = spaces + " ".join(words[:i])
        token, probability, end = base.complete(so_far + before, 1)[0]
        if probability >= threshold or (" " + words[i]).startswith(token):
            return before, not end
    return spaces + " ".join(words[:-1]), False


def base_run(base: NaiveModel, base_prompt: str, text: str, threshold: float) -> str:
    """Return the text that the base model writes after the nudging words."""
    chunk = base.complete(base_prompt + text, 16)
    run, chunk = chunk[0][0], chunk[1:]
    while True:
        sure: list[str] = []
        for token, probability, end in chunk:
            if end or probability < threshold:
                break
            sure.append(token)
        accepted = "".join(sure)
        if "".join(step[0] for step in chunk) in run:
            return run
        if len(accepted.split(" ")) > 5 and accepted in text + run:
            return run
        run += accepted
        if len(sure) < len(chunk) or chunk[-1][2]:
            return run
        chunk = base.complete(base_prompt + text + run, 16)
