"""The rules in their slowest and simplest form, as a reference: no cache, no hints, and no code shared with the engine.

Every token is a forward pass over the whole text, and every text is tokenized and decoded as a whole. The engine must
give the same answers.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

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
        steps: list[tuple[str, float, bool]] = []
        for _, added, probabilities in self._walk(text, count):
            token = int(probabilities.argmax())
            steps.append((added(token), float(probabilities[token]), token in self.ends))
        return steps

    def alternatives(self, text: str, skipped: int) -> dict[str | None, float]:
        """Return the probability of each text (None is the end) among the top 20 tokens after `skipped` greedy ones."""
        *_, (_, added, probabilities) = self._walk(text, skipped + 1)
        found: dict[str | None, float] = {}
        for token in probabilities.topk(min(20, len(probabilities))).indices.tolist():
            its_text = None if token in self.ends else added(token)
            found[its_text] = found.get(its_text, 0.0) + float(probabilities[token])
        return found

    def _walk(self, text: str, count: int) -> Iterator[tuple[list[int], Callable[[int], str], torch.Tensor]]:
        """Yield the tokens so far, the text that a token adds to them, and the probabilities of the next one."""
        ids = self.tokenizer.encode(text, add_special_tokens=self.bos)
        shown = len(self._decode(ids))
        for _ in range(count):
            with torch.no_grad():
                probabilities = self.weights(torch.tensor([ids]), use_cache=False).logits[0, -1].float().softmax(-1)

            def added(token: int, ids: list[int] = ids, shown: int = shown) -> str:
                whole = self._decode([*ids, token])
                return "" if token in self.ends or whole.endswith("\ufffd") else whole[shown:]

            yield ids, added, probabilities
            token = int(probabilities.argmax())
            if token in self.ends:
                return
            ids, shown = [*ids, token], shown + len(added(token))

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


class Completes(Protocol):
    """A naive model: of transformers, or of llama.cpp."""

    def complete(self, text: str, count: int) -> list[tuple[str, float, bool]]: ...

    def alternatives(self, text: str, skipped: int) -> dict[str | None, float]: ...


@dataclass
class NaivePair:
    """Two naive models with their prompts."""

    base: Completes
    nudging: Completes
    base_prompt: str
    nudging_prompt: str

    def base_steps(self, text: str, count: int) -> list[tuple[str, float, bool]]:
        return self.base.complete(self.base_prompt + text, count)

    def own(self, text: str) -> tuple[str, float, bool]:
        """Return the nudging model's next whole character or its end, and the probability of its first step."""
        steps = self.nudging.complete(self.nudging_prompt + text, 8)
        whole = next((step for step in steps if step[0] or step[2]), ("", 1.0, True))
        return whole[0], steps[0][1], whole[2]

    def is_done(self, text: str, next_text: str, end: float) -> bool:
        """Return True at a sure end: the nudging model ends after `text` with at least this probability."""
        if not end or (text[-1:].isalnum() and next_text[:1].isalnum()):
            return False
        _, probability, ends = self.nudging.complete(self.nudging_prompt + text, 1)[0]
        return ends and probability >= end


def naive_answer(
    base: Completes,
    nudging: Completes,
    base_prompt: str,
    nudging_prompt: str,
    *,
    threshold: float,
    until: int,
    end: float = 0.0,
) -> NaiveAnswer:
    """Return the answer of the rule "words", or its first rounds that have more than `until` characters together."""
    answer = NaiveAnswer()
    pair = NaivePair(base, nudging, base_prompt, nudging_prompt)
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
        run, done = base_run(pair, text + words, threshold, end) if token else ("", False)
        answer.rounds.append(words + run)
        if done:
            answer.finish_reason = "stop"
            return answer
    return answer


def handover(base: Completes, so_far: str, proposed: str, threshold: float) -> tuple[str, bool]:
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


def base_run(pair: NaivePair, text: str, threshold: float, end: float) -> tuple[str, bool]:
    """Return the text that the base model writes after the nudging words, and True if a sure end comes after it."""
    chunk = pair.base_steps(text, 16)
    run, chunk = chunk[0][0], chunk[1:]
    inside = run == ""  # the next token goes on with a character
    while True:
        sure: list[str] = []
        done = False
        for number, (token, probability, ends) in enumerate(chunk):
            if ends or probability < threshold:
                break
            character = "" if inside else whole_character(chunk[number:], threshold)
            if character and pair.is_done(text + run + "".join(sure), character, end):
                done = True
                break
            inside = token == ""
            sure.append(token)
        accepted = "".join(sure)
        if not done and "".join(step[0] for step in chunk) in run:
            return run, False
        if len(accepted.split(" ")) > 5 and accepted in text + run:
            return run, done
        run += accepted
        if done or len(sure) < len(chunk) or chunk[-1][2]:
            return run, done
        chunk, inside = pair.base_steps(text + run, 16), False


def whole_character(steps: list[tuple[str, float, bool]], threshold: float) -> str:
    """Return the text of the first steps that have one, or nothing if the base model is not sure of all of them."""
    for text, probability, ends in steps:
        if ends or probability < threshold:
            return ""
        if text:
            return text
    return ""


@dataclass
class NaiveRun:
    """The base model writing token by token. It is asked for 16 steps at a time, and anew after the other's words.

    Args:
        pair: Both models.
        sure: The base model writes while the probability of its top token is at least this.
        end: The probability of a sure end; 0 leaves it out.
        until: The answer is cut off once it has more characters than this.
    """

    pair: NaivePair
    sure: float
    end: float
    until: int
    text: str = ""
    asked: str = ""
    steps: list[tuple[str, float, bool]] = field(default_factory=list)
    used: int = 0
    run: list[str] = field(default_factory=list)
    loops: int = 0
    finish_reason: str = ""

    def next(self) -> tuple[str, float, bool]:
        """Return the base model's next character: its text, the probability of its first step, True for an end."""
        while True:
            left = self.steps[self.used :][:8]
            for text, _, end in left:
                if text or end:
                    return text, left[0][1], end
            if len(left) == 8:
                return "", left[0][1], False
            self.restart()
            self.steps = self.pair.base_steps(self.text, 16)

    def keep(self) -> None:
        """Append that character."""
        text, *_ = self.next()
        self.used = next(number for number, step in enumerate(self.steps) if number >= self.used and step[0]) + 1
        self.text += text
        self.run.append(text)

    def restart(self) -> None:
        """Forget what the base model has said."""
        self.asked, self.steps, self.used = self.text, [], 0

    def nudge(self) -> None:
        """Append the nudging model's next character, or end the answer."""
        text, _, ends = self.pair.own(self.text)
        if ends:
            self.finish_reason = "stop"
        self.text += text
        self.run = []
        self.restart()

    def leave_loop(self) -> None:
        """Append a proposal of the nudging model, or end the answer at the fourth loop."""
        self.loops += 1
        if self.loops == 4:
            self.finish_reason = "loop"
            return
        steps = self.pair.nudging.complete(self.pair.nudging_prompt + self.text, 16)
        words = "".join(text for text, _, _ in steps)
        if steps[-1][2]:
            self.finish_reason = "stop"
        elif " " in words and words.rpartition(" ")[0]:
            words = words.rpartition(" ")[0]
        self.text += words
        self.run = []
        self.restart()

    def write(self) -> None:
        """Append the base model's characters while it is sure."""
        while not self.is_over:
            if any(
                self.run[-size:] == self.run[-2 * size : -size] for size in range(4, 65) if 2 * size <= len(self.run)
            ):
                self.leave_loop()
                continue
            text, probability, ends = self.next()
            if self.pair.is_done(self.text, text, self.end):
                self.finish_reason = "stop"
            elif text and not ends and probability >= self.sure:
                self.keep()
            else:
                return

    @property
    def is_over(self) -> bool:
        return bool(self.finish_reason) or len(self.text) > self.until


def naive_tokens(pair: NaivePair, *, threshold: float, end: float, until: int) -> NaiveRun:
    """Return the answer of the rule "tokens"."""
    run = NaiveRun(pair, threshold, end, until)
    while not run.is_over:
        run.nudge()
        while not run.is_over:  # a word of the nudging model, up to where the base model is sure
            if " " in pair.nudging.complete(pair.nudging_prompt + run.text, 1)[0][0]:
                text, probability, ends = run.next()
                if text and not ends and probability >= threshold:
                    break
            run.nudge()
        run.write()
    return run


def naive_bet(pair: NaivePair, *, bet: float, end: float, until: int) -> NaiveRun:
    """Return the answer of the rule "bet"."""
    run = NaiveRun(pair, 1 - bet, end, until)
    while not run.is_over:
        run.write()
        if run.is_over:
            break
        text, probability, ends = run.next()
        own, confidence, _ = pair.nudging.complete(pair.nudging_prompt + run.text, 1)[0]
        rest = text.removeprefix(own)
        agrees = own != "" and rest != text and not (own[-1:].isalnum() and rest[:1].isalnum())
        if text and not ends and (probability >= confidence - bet or agrees):
            run.keep()
        else:
            run.nudge()
    return run


def naive_blend(pair: NaivePair, *, threshold: float, end: float, until: int) -> NaiveRun:
    """Return the answer of the rule "blend"."""
    run = NaiveRun(pair, threshold, end, until)
    while not run.is_over:
        run.write()
        if run.is_over:
            break
        text, *_ = run.next()
        base_top, nudging_top = run.steps[run.used][1], pair.nudging.complete(pair.nudging_prompt + run.text, 1)[0][1]
        p = pair.base.alternatives(pair.base_prompt + run.asked, run.used)
        q = pair.nudging.alternatives(pair.nudging_prompt + run.text, 0)
        p.pop(None, None)
        p.pop("", None)
        q.pop("", None)
        if not p and not q:
            run.nudge()
            continue
        agreement = p.get(max(q, key=lambda one: q[one]), 0.0) if q else 0.0
        weight = min(1.0, nudging_top / (base_top + nudging_top) + 0.1 * agreement)
        blend = {one: weight * q.get(one, 0.0) + (1 - weight) * p.get(one, 0.0) for one in {**p, **q}}
        chosen = max(blend, key=lambda one: blend[one])
        if chosen is None:
            run.finish_reason = "stop"
        elif (1 - weight) * p.get(chosen, 0.0) <= weight * q.get(chosen, 0.0):
            run.text += chosen
            run.run = []
            run.restart()
        elif chosen == text:
            run.keep()
        else:
            run.text += chosen
            run.run.append(chosen)
            run.restart()
    return run


def naive_by_tokens(pair: NaivePair, rule: str, number: float, *, end: float, until: int) -> NaiveRun:
    """Return the answer of the rule "tokens", "bet" or "blend". `number` is its threshold or its bet."""
    if rule == "bet":
        return naive_bet(pair, bet=number, end=end, until=until)
    return (naive_tokens if rule == "tokens" else naive_blend)(pair, threshold=number, end=end, until=until)
