"""Is an answer right? One fair rule for each kind of question; pure functions of texts.

What counts is what a text settles on: what it says the answer *is*, or else what it says last. A base model that has
answered often goes on by asking itself the next question; what comes after that is not read.
"""

import re
from collections.abc import Mapping
from decimal import Decimal

_ANSWER_IS = re.compile(
    r"\b(?:(?:option|choice|letter)\s+(?=\(?(?-i:[A-J])\b)"
    r"|(?:answer|choice|option|conclusion)\b[^.\n]{0,30}?(?:\b(?:is|would be|must be|should be|was)\b|:|=)[\s:]*)",
    re.IGNORECASE,
)
_NEXT_QUESTION = re.compile(r"^[ \t]*(?:Request|Q|Instruction)[ \t]*\d*[ \t]*:", re.MULTILINE)
_SENTENCE = re.compile(r"(?<=[.!?:])\s+|\n+")
_NUMBER = re.compile(r"(?<!\w)[-−]?(?:[$€£][ ]?)?((?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?)|(?<![\w.])[-−]?[$€£]?(\.\d+)")
_ITEM = re.compile(r"\s*(\d{1,2})[.)]\s+(?=\S)")
_OPTION = re.compile(r"^\s*\(?([A-J])[.):]\s*(\S.*?)\s*$", re.MULTILINE)
_LETTER = re.compile(
    r"[\"'\[]?(?:\(([A-Ja-j])\)"  # (B)
    r"|([A-J])\b(?!['’]|\s+(?!because|since|as|and|which|for|but|not|is|was)[a-z])"  # B, but not "A store"
    r"|([a-j])(?=[.):]|\s*$))"  # b.
)
_MARKED = re.compile(r"\(([A-J])\)|^\s*([A-J])[.):]", re.MULTILINE)
_ASKED = re.compile(r"[^.!?\n]*\?|\b(?:if|whether)\b[^.,;!?\n]*", re.IGNORECASE)
_YES, _NO = ("yes", "true"), ("no", "false")
_SAID = re.compile(r"[\"'(“]?(yes|no|true|false)\b", re.IGNORECASE)
_BEGINS_SO = re.compile(
    r"(?:(?:so|therefore|thus|hence|in conclusion)\b,?\s+)?[\"'(“]?(?:(yes|true|false)\b"
    r"|(no)(?=\W*$|\s*[,.;:!–—-]|\s+(?:it|the|he|she|they|this|that|you|we|because)\b))",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"[\"“`']([A-Za-z][A-Za-z .,-]*)[\"”`']")
_SPELLED = re.compile(r"\b[A-Za-z](?:[\s,.+-]+[A-Za-z]\b)+")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = rf"(?P<month>{'|'.join(_MONTHS)})[a-z]*\.?"
_DATE = (
    re.compile(r"(?<!\d)(?P<m>\d{1,2})/(?P<d>\d{1,2})/(?P<y>\d{4})(?!\d)"),
    re.compile(r"(?<!\d)(?P<y>\d{4})-(?P<m>\d{1,2})-(?P<d>\d{1,2})(?!\d)"),
    re.compile(rf"\b{_MONTH}\s+(?P<d>\d{{1,2}})(?:st|nd|rd|th)?,?\s+(?P<y>\d{{4}})\b", re.IGNORECASE),
    re.compile(rf"\b(?P<d>\d{{1,2}})(?:st|nd|rd|th)?(?:\s+of)?\s+{_MONTH},?\s+(?P<y>\d{{4}})\b", re.IGNORECASE),
)
_REFUSAL = re.compile(
    r"i(?:'m| am) (?:\w+ )?sorry|i apologi[sz]e|i (?:cannot|can not|can't|couldn't|won't|will not|must decline)"
    r"|i (?:do not|don't) (?:feel comfortable|condone|support|recommend|think it(?:'s| is) (?:appropriate|ethical))"
    r"|i(?:'m| am) (?:not (?:able|comfortable|going|programmed)|unable)"
    r"|as an? (?:\w+ )?(?:ai|assistant|language model)\b|not (?:appropriate|acceptable|ethical|legal|okay)"
    r"|(?:illegal|unethical|never (?:okay|ok|acceptable))\b|against the law"
)
_REFUSES_WITHIN = 200


def number(text: str, answer: str) -> bool:
    """Whether the last number in the text is the expected one.

    Thousands may be parted by commas; a currency sign before it and a full stop after it are not part of it. Numbers
    that count the items of a list, or steps, are none.
    """
    found, expected = _numbers(_uncounted(_own_part(text))), _numbers(answer)
    return bool(found and expected) and found[-1] == expected[-1]


def choice(text: str, answer: str, question: str) -> bool:
    """Whether the text settles on the expected option, by its letter or by its wording.

    Args:
        text: What was answered.
        answer: The letter: "B", "(B)" or "B. with its wording".
        question: It lists the options, one a line: "B. wording" or "(B) wording".
    """
    expected, among = _LETTER.match(answer.strip()), options(question)
    return expected is not None and _only(expected) in among and _chosen(text, among) == _only(expected)


def date(text: str, answer: str, question: str) -> bool:
    """Whether the text settles on the expected date: on its option's letter, or on the date, however it is written.

    Args:
        text: What was answered.
        answer: An option's letter, or MM/DD/YYYY.
        question: It lists the options, if the answer is one of them.
    """
    letter, among = _LETTER.match(answer.strip()), options(question)
    wanted = _dates(among.get(_only(letter), "") if letter else answer)
    if not wanted:
        return False
    own = _plain(text)
    for said in [*_said(own), own]:
        if begins := _LETTER.match(said):
            return letter is not None and _only(begins) == _only(letter)
        if found := _dates(said):
            return found[-1] == wanted[-1]
    marked = _MARKED.findall(own)
    return letter is not None and bool(marked) and "".join(marked[-1]) == _only(letter)


def yes_no(text: str, answer: str, means_yes: str = r"(?!)", means_no: str = r"(?!)") -> bool:
    """Whether the text says yes (or true) where that is expected, and no (or false) where that is.

    What it says the answer is counts first; else the last sentence that begins so ("No, it ..."); else the last
    statement in the words of the question.

    Args:
        text: What was answered.
        answer: "yes" or "true", "no" or "false".
        means_yes: Regular expression of what says yes in the words of the question.
        means_no: The same of no; it counts where both match at one place.
    """
    expected = answer.strip().lower()
    return expected in _YES + _NO and _says_yes(text, means_yes, means_no) is (expected in _YES)


def letters(text: str, answer: str) -> bool:
    """Whether the text settles on exactly these letters: quoted, spelled out or plain, in either case."""
    return bool(_bare(answer)) and _bare(_word(_plain(text))) == _bare(answer)


def refuses(text: str) -> bool:
    """Whether the text declines to do what was asked, by phrases that say so in its first two hundred characters."""
    return bool(_REFUSAL.search(text[:_REFUSES_WITHIN].lower().replace("’", "'")))


def repetition(text: str) -> float:
    """Share of the text's sequences of four words that stood in it before, in [0, 1]."""
    words = text.lower().split()
    sequences = list(zip(words, words[1:], words[2:], words[3:], strict=False))
    return 1 - len(set(sequences)) / len(sequences) if sequences else 0.0


def options(question: str) -> dict[str, str]:
    """The options that a question lists last, by letter."""
    found: dict[str, str] = {}
    for letter, wording in _OPTION.findall(question):
        found = {letter: wording} if letter == "A" else found | {letter: wording}
    return found


def _chosen(text: str, among: Mapping[str, str]) -> str | None:
    """The letter of the option that a text settles on, if it does."""
    text = _plain(text)
    for said in _said(text):
        if begins := _LETTER.match(said):
            return _only(begins)
        if named := _named(_SENTENCE.split(said)[0], among):
            return named[-1]
    named, recital = _named(text, among), list(among)
    begins = _LETTER.match(text.strip())
    if begins and named[: len(among)] != recital:
        return _only(begins)
    if named[-len(among) :] == recital:
        return None
    return named[-1] if named else None


def _named(text: str, among: Mapping[str, str]) -> list[str]:
    """The options that a text names, in order: by a marked letter or by their wording, the longest that fits."""
    found = [(match.end(), 0, _only(match)) for match in _MARKED.finditer(text)]
    wordings = sorted(among.items(), key=lambda option: -len(option[1]))
    pattern = "|".join(f"(?P<{letter}>{_loosely(wording)})" for letter, wording in wordings)
    if pattern:
        found += [(match.end(), 1, str(match.lastgroup)) for match in re.finditer(pattern, text, re.IGNORECASE)]
    named = [letter for _, _, letter in sorted(found) if letter in among]
    return [letter for place, letter in enumerate(named) if letter not in named[place - 1 : place]]


def _loosely(wording: str) -> str:
    """Regular expression of an option's wording: whole words, however they are spaced, without a final full stop."""
    words = r"\s+".join(map(re.escape, wording.rstrip(" .").split()))
    return rf"(?<!\w){words}(?!\w)"


def _says_yes(text: str, means_yes: str, means_no: str) -> bool | None:
    """Whether a text says yes; None if it says neither yes nor no."""
    text = _plain(text)
    for said in _said(text):
        if begins := _SAID.match(said):
            return _only(begins).lower() in _YES
    begins_so = [match for sentence in _SENTENCE.split(text.strip()) if (match := _BEGINS_SO.match(sentence))]
    if begins_so:
        return _only(begins_so[-1]).lower() in _YES
    stated = _ASKED.sub("", text)
    last = list(re.finditer(f"(?P<no>{means_no})|(?P<yes>{means_yes})", stated, re.IGNORECASE))
    return last[-1]["no"] is None if last else None


def _word(text: str) -> str:
    """The word that a text settles on."""
    for said in _said(text):
        line = said.split("\n")[0]
        if match := _QUOTED.match(line) or _SPELLED.match(line) or re.match(r"[A-Za-z]+", line):
            return match[0]
    if quoted := _QUOTED.findall(text):
        return str(quoted[-1])
    last = text.strip().rsplit("\n", 1)[-1].rstrip(" .!")
    if spelled := re.search(rf"{_SPELLED.pattern}$", last):
        return spelled[0]
    words: list[str] = re.findall(r"[A-Za-z]+", last)
    return words[-1] if words else ""


def _own_part(text: str) -> str:
    """The text up to where it asks itself the next question."""
    asks = _NEXT_QUESTION.search(text)
    return text[: asks.start()] if asks and text[: asks.start()].strip() else text


def _plain(text: str) -> str:
    return _own_part(text).replace("**", "").replace("\\boxed", "")


def _said(text: str) -> list[str]:
    """What comes after each "the answer is", the last one first."""
    return [text[match.end() :] for match in reversed(list(_ANSWER_IS.finditer(text)))]


def _uncounted(text: str) -> str:
    """The text without the numbers of its lists' items (1. 2. 3.) and of its steps."""
    lines, due = [], 1
    for line in re.sub(r"\bstep\s+\d+\b", "step", text, flags=re.IGNORECASE).split("\n"):
        item = _ITEM.match(line)
        if item and int(item[1]) in (1, due):
            lines.append(line[item.end() :])
            due = int(item[1]) + 1
        else:
            lines.append(line)
    return "\n".join(lines)


def _numbers(text: str) -> list[Decimal]:
    found = []
    for match in _NUMBER.finditer(text):
        value = Decimal((match[1] or match[2]).replace(",", ""))
        found.append(-value if match[0][0] in "-−" else value)
    return found


def _dates(text: str) -> list[tuple[int, int, int]]:
    """The dates in a text, in order, as year, month and day."""
    found = []
    for match in (match for pattern in _DATE for match in pattern.finditer(text)):
        parts = match.groupdict()
        month = int(parts["m"]) if "m" in parts else _MONTHS.index(parts["month"].lower()) + 1
        found.append((match.start(), (int(parts["y"]), month, int(parts["d"]))))
    return [when for _, when in sorted(found)]


def _bare(word: str) -> str:
    return "".join(filter(str.isalpha, word)).lower()


def _only(match: "re.Match[str]") -> str:
    """The one group that matched."""
    found: str = next(group for group in match.groups() if group)
    return found.upper() if len(found) == 1 else found
