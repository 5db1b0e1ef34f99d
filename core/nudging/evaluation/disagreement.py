"""Where the two models of a pair disagree, and how sure the base model is there.

Nudging rests on the finding that a base model is unsure where it disagrees with an aligned model. Then a threshold on
its top-1 probability tells where to nudge. This module checks the finding for any pair: both models are fed the same
aligned answers (teacher forcing), and their top tokens are compared wherever tokens of both models begin.
`docs/analysis.md` defines all numbers.

Source: Fei, Razeghi, Singh, arXiv 2410.09300, section 2.
"""

import re
from collections import Counter
from collections.abc import Generator, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from annotated_types import MinLen
from pydantic import AfterValidator, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as pydantic_dataclass

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
"""Questions for a first look at a pair. More questions, and questions of the intended use, tell more."""

BINS = 10
"""Number of equally wide bins of the base model's top-1 probability."""

THRESHOLDS = tuple(step / 20 for step in range(21))
"""The thresholds that are compared."""


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("the text is empty")
    return text


@pydantic_dataclass(frozen=True)
class Example:
    """A question with an aligned answer.

    Args:
        question: The question.
        response: The aligned answer. None lets the nudging model answer.
    """

    question: Annotated[str, AfterValidator(_not_blank)]
    response: Annotated[str, MinLen(1)] | None = None


@dataclass(frozen=True, slots=True)
class Position:
    """A place in an answer where a token of either model begins.

    Args:
        at: Offset in the answer, in characters.
        base: The text of the base model's top token. Empty if the base model would end.
        nudging: The text of the nudging model's top token. Empty if it would end.
        probability: The probability of the base model's top token, in [0, 1].
        agree: True if the base model's top token agrees with the aligned continuation.
    """

    at: int
    base: str
    nudging: str
    probability: float
    agree: bool


@dataclass(frozen=True)
class AnswerComparison:
    """One aligned answer with the choices of both models along it."""

    question: str
    answer: str
    positions: tuple[Position, ...]


@dataclass(frozen=True)
class Bin:
    """The positions with a probability in [low, high). The last bin includes 1.0.

    Args:
        low: The lower bound.
        high: The upper bound.
        positions: Number of positions.
        disagreements: Number of positions at which the models disagree.
    """

    low: float
    high: float
    positions: int
    disagreements: int

    @property
    def rate(self) -> float:
        """The share of disagreements, in [0, 1]."""
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
    """The effect of a threshold on these answers. All shares are in [0, 1].

    Args:
        value: The threshold.
        caught: The share of disagreements below it, where the nudging model can take over.
        misjudged: The share of positions where it is wrong: disagreements that are not below it, and agreements that
            are.
        nudge_ratio: The share of positions that the nudging model would write.
    """

    value: float
    caught: float
    misjudged: float
    nudge_ratio: float


@dataclass(frozen=True)
class Analysis:
    """The disagreement of two models on a set of aligned answers.

    Args:
        base_model: The name of the base model.
        nudging_model: The name of the nudging model.
        comparisons: The answers with the choices of both models.
    """

    base_model: str
    nudging_model: str
    comparisons: tuple[AnswerComparison, ...]

    @property
    def positions(self) -> list[Position]:
        """The positions of all answers."""
        return [position for comparison in self.comparisons for position in comparison.positions]

    @property
    def disagreement(self) -> float:
        """The share of positions at which the models disagree, in [0, 1]."""
        positions = self.positions
        return sum(not position.agree for position in positions) / len(positions) if positions else 0.0

    @property
    def bins(self) -> list[Bin]:
        """The positions in bins of the base model's top-1 probability, the lowest first."""
        members: list[list[Position]] = [[] for _ in range(BINS)]
        for position in self.positions:
            members[min(int(position.probability * BINS), BINS - 1)].append(position)
        return [
            Bin(number / BINS, (number + 1) / BINS, len(within), sum(not position.agree for position in within))
            for number, within in enumerate(members)
        ]

    @property
    def thresholds(self) -> list[Threshold]:
        """The effect of each of the `THRESHOLDS`."""
        return [self.threshold(value) for value in THRESHOLDS]

    @property
    def suggestion(self) -> Threshold:
        """The threshold that misjudges the fewest positions; the lowest one of several."""
        return min(self.thresholds, key=lambda threshold: (threshold.misjudged, threshold.value))

    def threshold(self, value: float) -> Threshold:
        """Return the effect of this threshold."""
        positions = self.positions
        below = [position for position in positions if position.probability < value]
        disagreements = sum(not position.agree for position in positions)
        caught = sum(not position.agree for position in below)
        misjudged = (len(below) - caught) + (disagreements - caught)
        nudged = sum(_nudged_positions(comparison, value) for comparison in self.comparisons)
        n = len(positions) or 1
        return Threshold(value, caught / disagreements if disagreements else 1.0, misjudged / n, nudged / n)

    def nudging_words(self, threshold: float) -> Counter[str]:
        """Count the words of the answers where the models disagree and the base model is below the threshold."""
        words: Counter[str] = Counter()
        for comparison in self.comparisons:
            unsure = [one.at for one in comparison.positions if not one.agree and one.probability < threshold]
            for word in re.finditer(r"\s*\S+", comparison.answer):
                if any(word.start() <= at < word.end() for at in unsure):
                    words[word.group().strip(" ")] += 1
        return words

    def to_dict(self) -> dict[str, Any]:
        """Return the analysis as plain data, for JSON."""
        suggested = self.suggestion
        return {
            "base_model": self.base_model,
            "nudging_model": self.nudging_model,
            "answers": len(self.comparisons),
            "positions": len(self.positions),
            "disagreement": self.disagreement,
            "suggestion": asdict(suggested),
            "bins": [asdict(one) | {"rate": one.rate, "interval": one.interval} for one in self.bins],
            "thresholds": [asdict(one) for one in self.thresholds],
            "nudging_words": dict(self.nudging_words(suggested.value).most_common(50)),
            "comparisons": [asdict(comparison) for comparison in self.comparisons],
        }


def read_examples(path: Path, limit: int | None = None) -> list[Example]:
    """Return the examples in a file: one per line, `{"question": "…"}` with an optional `response`.

    Args:
        path: A JSON lines file in UTF-8. Other fields are ignored.
        limit: The maximum number of examples, or None for all.

    Raises:
        SettingsError: The file cannot be read or is empty, or a line has another form.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise SettingsError(f"cannot read the questions {str(path)!r}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path} is not UTF-8 (at byte {error.start}): save it as UTF-8 text") from None
    examples = [_example(line, f"{path}:{number}") for number, line in enumerate(lines, start=1) if line.strip()]
    if not examples:
        raise SettingsError(f'{path} has no questions: write one per line, as {{"question": "…"}}')
    return examples[:limit]


def _example(line: str, where: str) -> Example:
    try:
        return TypeAdapter(Example).validate_json(line, strict=True)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
    is_missing = problem["type"] == "missing"
    field = "".join(f"{name!r} is " + ("" if is_missing else f"{problem['input']!r}: ") for name in problem["loc"])
    message = "missing" if is_missing else problem["msg"].removeprefix("Value error, ")
    raise SettingsError(f'{where}: {field}{message}; write {{"question": "…"}}, with an optional "response"')


def compare_answers(
    nudger: Nudger, examples: Iterable[Example], *, instructions: str = "", max_tokens: int = 256
) -> Generator[AnswerComparison, None, None]:
    """Yield each aligned answer with the choices of both models along it.

    If an example has no answer, the nudging model writes one greedily. Then each model is fed the whole answer.

    Args:
        nudger: The pair. Both models must be local.
        examples: The questions, with or without answers.
        instructions: A system message before each question.
        max_tokens: Maximum length of an answer that the nudging model writes, in its tokens.

    Raises:
        UnsupportedModelError: A model is on a server.
        PromptError: A question cannot be rendered, or is too long for a context.
        ModelError: A model cannot be loaded.
    """
    reason = "the analysis needs a model's choices along a text that it did not write"
    base_model = require_local(nudger.base_model, "base_model", reason)
    nudging_model = require_local(nudger.nudging_model, "nudging_model", reason)
    system = [{"role": "system", "content": instructions}] if instructions else []
    for example in examples:
        prompts = nudger.prompts([*system, {"role": "user", "content": example.question}])
        base = base_model.session(prompts.base, author="base")
        nudging = nudging_model.session(prompts.nudging, author="nudging")
        try:
            answer = example.response
            if answer is None:
                answer = "".join(step.text for step in nudging.steps("", max_tokens))
            positions = compare_steps(answer, base.teacher_forced(answer), nudging.teacher_forced(answer))
        finally:
            base.close()
            nudging.close()
        yield AnswerComparison(example.question, answer, positions)


def compare_steps(
    answer: str, base: Sequence[tuple[int, Step]], nudging: Sequence[tuple[int, Step]]
) -> tuple[Position, ...]:
    """Return the positions at which tokens of both models begin.

    A position is left out if the top token of either model has no text, for example if it leaves a character
    unfinished.

    Args:
        answer: The aligned answer.
        base: (offset, step) for each token of the base model in the answer: the offset at which the token begins, in
            characters, and the model's own step there.
        nudging: The same for the nudging model.
    """
    nudging_steps = dict(nudging)
    return tuple(
        Position(at, step.text, other.text, step.probability, _agree(step, other, answer[at:]))
        for at, step in base
        if (other := nudging_steps.get(at)) and (step.text or step.end) and (other.text or other.end)
    )


def _agree(base: Step, nudging: Step, rest: str) -> bool:
    """Return True if the base model's top token and the aligned continuation begin alike.

    The continuation is the rest of the answer, if the aligned model would write it. Else only its top token is known.
    """
    aligned = rest if rest.startswith(nudging.text) else nudging.text
    return bool(base.text) and (aligned.startswith(base.text) or base.text.startswith(aligned))


def _nudged_positions(comparison: AnswerComparison, threshold: float) -> int:
    """Return the number of positions that the nudging model would write, if the rule produced exactly this answer.

    The nudging model begins and writes at least one word. It hands over where a word begins that the base model is
    sure of or agrees with. The base model continues while it is sure.
    """
    nudged, start = 0, 0
    nudging_writes = True
    for number, position in enumerate(comparison.positions):
        is_sure = position.probability >= threshold
        if not nudging_writes and not is_sure:
            nudging_writes, start = True, number
        elif nudging_writes and number > start and comparison.answer[position.at] == " ":
            nudging_writes = not (is_sure or position.agree)
        nudged += nudging_writes
    return nudged
