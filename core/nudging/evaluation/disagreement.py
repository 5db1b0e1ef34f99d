"""Where a pair disagrees, and how sure the base model is there: the finding that nudging rests on, for any pair.

Both models read the same aligned answers (teacher forcing). At every place where tokens of both begin, what each would
write next is compared. Base models are unsure where they disagree with an aligned one: that is why a threshold on the
base model's top-1 probability tells where to nudge. `docs/analysis.md` says what is counted, and how.

Source: Fei, Razeghi, Singh, arXiv 2410.09300, section 2.
"""

import json
import re
from collections import Counter
from collections.abc import Generator, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nudging.errors import SettingsError
from nudging.evaluation.intervals import share_interval
from nudging.models import require_local
from nudging.nudger import Nudger
from nudging.step import Step

QUESTIONS = (
    "What is the capital of France, and what is it known for?",
    "How do I boil an egg so that the yolk stays soft?",
    "Why is the sky blue?",
    "A farmer has 17 sheep and buys 5 more. Then he sells 8 of them. How many sheep does he have?",
    "Write a short poem about the sea.",
    "What should I pack for a weekend in the mountains?",
    "Explain photosynthesis to a ten-year-old.",
    "Give me three tips for learning a new language.",
    "What is the difference between a virus and a bacterium?",
    "Write a polite e-mail that asks a colleague for a meeting next week.",
    "Who wrote Romeo and Juliet, and what is it about?",
    "How can I fall asleep faster?",
)
"""For a first look at a pair. More questions, and those of one's own use, tell more."""

BINS = 10
"""Of the base model's top-1 probability, equally wide."""

THRESHOLDS = tuple(step / 20 for step in range(21))
"""Those that are tried."""


@dataclass(frozen=True)
class Exemplar:
    """A question, and the aligned answer to it; without one, the nudging model's own answer is taken."""

    question: str
    response: str | None = None


@dataclass(frozen=True, slots=True)
class Position:
    """A place in an answer where a token of either model begins, and one of the other does too.

    Args:
        at: In characters of the answer.
        base: The text of the base model's top token; empty if it would end.
        nudging: The text of the nudging model's.
        probability: Of the base model's top token, in [0, 1].
        agree: Whether the base model's top token and what the aligned answer goes on with begin alike.
    """

    at: int
    base: str
    nudging: str
    probability: float
    agree: bool


@dataclass(frozen=True)
class Reading:
    """One aligned answer, as both models read it."""

    question: str
    answer: str
    positions: tuple[Position, ...]


@dataclass(frozen=True)
class Bin:
    """The positions whose probability is in [low, high); the last bin has 1.0 too.

    Args:
        low: The least probability.
        high: The greatest.
        positions: How many there are.
        disagreements: How many of them the models disagree at.
    """

    low: float
    high: float
    positions: int
    disagreements: int

    @property
    def rate(self) -> float:
        """Share of disagreements, in [0, 1]."""
        return self.disagreements / self.positions if self.positions else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95% interval of the rate."""
        if not self.positions:
            return 0.0, 1.0
        agreements = self.positions - self.disagreements
        return share_interval([True] * self.disagreements + [False] * agreements)[1:]


@dataclass(frozen=True)
class Threshold:
    """What a threshold would do on these answers, all shares in [0, 1].

    Args:
        value: The threshold.
        caught: Share of the disagreements that lie under it, where the pen may pass to the nudging model.
        misjudged: Share of the positions that it is wrong about: disagreements that are not under it, and agreements
            that are.
        nudge_ratio: Share of the positions that the nudging model would write.
    """

    value: float
    caught: float
    misjudged: float
    nudge_ratio: float


@dataclass(frozen=True)
class Analysis:
    """How two models read a set of aligned answers.

    Args:
        base_model: Its name.
        nudging_model: Its name.
        readings: The answers.
    """

    base_model: str
    nudging_model: str
    readings: tuple[Reading, ...]

    @property
    def positions(self) -> list[Position]:
        """Those of all answers."""
        return [position for reading in self.readings for position in reading.positions]

    @property
    def disagreement(self) -> float:
        """Share of the positions at which the models disagree, in [0, 1]."""
        positions = self.positions
        return sum(not position.agree for position in positions) / len(positions) if positions else 0.0

    @property
    def bins(self) -> list[Bin]:
        """The positions by the base model's probability, the least sure first."""
        members: list[list[Position]] = [[] for _ in range(BINS)]
        for position in self.positions:
            members[min(int(position.probability * BINS), BINS - 1)].append(position)
        return [
            Bin(number / BINS, (number + 1) / BINS, len(of), sum(not position.agree for position in of))
            for number, of in enumerate(members)
        ]

    @property
    def thresholds(self) -> list[Threshold]:
        """What every threshold that is tried would do."""
        return [self.threshold(value) for value in THRESHOLDS]

    @property
    def suggestion(self) -> Threshold:
        """The threshold that misjudges fewest positions; of several, the lowest."""
        return min(self.thresholds, key=lambda threshold: (threshold.misjudged, threshold.value))

    def threshold(self, value: float) -> Threshold:
        """What this threshold would do."""
        positions = self.positions
        under = [position for position in positions if position.probability < value]
        disagreements = sum(not position.agree for position in positions)
        caught = sum(not position.agree for position in under)
        misjudged = (len(under) - caught) + (disagreements - caught)
        nudged = sum(_nudged(reading, value) for reading in self.readings)
        n = len(positions) or 1
        return Threshold(value, caught / disagreements if disagreements else 1.0, misjudged / n, nudged / n)

    def nudging_words(self, threshold: float) -> Counter[str]:
        """The words of the aligned answers at which the models disagree and the base model is below the threshold."""
        words: Counter[str] = Counter()
        for reading in self.readings:
            unsure = [place.at for place in reading.positions if not place.agree and place.probability < threshold]
            for word in re.finditer(r"\s*\S+", reading.answer):
                if any(word.start() <= at < word.end() for at in unsure):
                    words[word.group().strip(" ")] += 1
        return words

    def to_dict(self) -> dict[str, Any]:
        """The analysis as plain data, for JSON."""
        suggested = self.suggestion
        return {
            "base_model": self.base_model,
            "nudging_model": self.nudging_model,
            "answers": len(self.readings),
            "positions": len(self.positions),
            "disagreement": self.disagreement,
            "suggestion": asdict(suggested),
            "bins": [asdict(one) | {"rate": one.rate, "interval": one.interval} for one in self.bins],
            "thresholds": [asdict(one) for one in self.thresholds],
            "nudging_words": dict(self.nudging_words(suggested.value).most_common(50)),
            "readings": [asdict(reading) for reading in self.readings],
        }


def read_exemplars(path: Path, limit: int | None = None) -> list[Exemplar]:
    """The questions of a file, one a line: `{"question": "…"}`, perhaps with the aligned answer as `response`.

    Args:
        path: Of a JSONL file in UTF-8. Other fields are ignored.
        limit: Only so many.

    Raises:
        SettingsError: The file cannot be read or is empty, or a line is not of this form.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise SettingsError(f"cannot read the questions {str(path)!r}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path} is not UTF-8 (at byte {error.start}): save it as UTF-8 text") from None
    found = [_exemplar(line, f"{path}:{number}") for number, line in enumerate(lines, start=1) if line.strip()]
    if not found:
        raise SettingsError(f'{path} has no questions in it: write one a line, as {{"question": "…"}}')
    return found[:limit]


def read_answers(
    nudger: Nudger, exemplars: Iterable[Exemplar], *, instructions: str = "", max_tokens: int = 256
) -> Generator[Reading, None, None]:
    """Aligned answers as both models of a pair read them, one by one.

    For each, the nudging model writes its greedy answer if none is given; then both models are fed it at once.

    Args:
        nudger: The pair, both models in this process.
        exemplars: The questions.
        instructions: A system turn before each.
        max_tokens: Length of an answer that the nudging model writes, in its tokens.

    Raises:
        UnsupportedModelError: A model is on a server.
        PromptError: A question cannot be rendered, or is too long for a context.
        ModelError: A model cannot be loaded.
    """
    why = "the analysis needs a model's choices along a text that it did not write"
    base_model = require_local(nudger.base_model, "base_model", why)
    nudging_model = require_local(nudger.nudging_model, "nudging_model", why)
    system = [{"role": "system", "content": instructions}] if instructions else []
    for exemplar in exemplars:
        prompts = nudger.prompts([*system, {"role": "user", "content": exemplar.question}])
        base = base_model.session(prompts.base, author="base")
        nudging = nudging_model.session(prompts.nudging, author="nudging")
        try:
            answer = exemplar.response
            if answer is None:
                answer = "".join(step.text for step in nudging.steps("", max_tokens))
            positions = compared(answer, base.teacher_forced(answer), nudging.teacher_forced(answer))
        finally:
            base.close()
            nudging.close()
        yield Reading(exemplar.question, answer, positions)


def compared(
    answer: str, base: Sequence[tuple[int, Step]], nudging: Sequence[tuple[int, Step]]
) -> tuple[Position, ...]:
    """The positions at which tokens of both models begin.

    Where the top token of either has no text of its own (it leaves a character unfinished, say) nothing is compared.

    Args:
        answer: The aligned answer.
        base: Where tokens of the base model begin in it, and its own step there.
        nudging: The same of the nudging model.
    """
    steps = dict(nudging)
    return tuple(
        Position(at, step.text, steps[at].text, step.probability, _agree(step, steps[at], answer[at:]))
        for at, step in base
        if at in steps and (step.text or step.end) and (steps[at].text or steps[at].end)
    )


def _agree(base: Step, nudging: Step, following: str) -> bool:
    """Whether the base model's top token and what the aligned model goes on with begin alike.

    That is the answer itself, as far as the aligned model would write it: then more of it is known than one token.
    """
    aligned = following if following.startswith(nudging.text) else nudging.text
    return bool(base.text) and (aligned.startswith(base.text) or base.text.startswith(aligned))


def _nudged(reading: Reading, threshold: float) -> int:
    """How many positions the nudging model would write, by the rule, were the answer to come out as it stands.

    It begins, writes a word at least, and hands over where a word begins that the base model is sure of or agrees
    with. The base model goes on while it is sure.
    """
    nudged, begun = 0, 0
    holds = True  # the nudging model the pen
    for number, position in enumerate(reading.positions):
        is_sure = position.probability >= threshold
        if not holds and not is_sure:
            holds, begun = True, number
        elif holds and number > begun and reading.answer[position.at] == " " and (is_sure or position.agree):
            holds = False
        nudged += holds
    return nudged


def _exemplar(line: str, where: str) -> Exemplar:
    form = 'write {"question": "…"}, perhaps with a "response"'
    try:
        fields = json.loads(line)
    except json.JSONDecodeError as error:
        raise SettingsError(f"{where} is not JSON: {error.msg} at column {error.colno}; {form}") from None
    if not isinstance(fields, dict) or "question" not in fields:
        raise SettingsError(f"{where} has no 'question': {form}")
    question, response = fields["question"], fields.get("response")
    if not isinstance(question, str) or not question.strip():
        raise SettingsError(f"{where} has the question {question!r}, which is not a text: {form}")
    if response is not None and (not isinstance(response, str) or not response):
        raise SettingsError(f"{where} has the response {response!r}, which is not a text: {form}")
    return Exemplar(question, response)
