"""Right and wrong answers for each scoring rule, as tables."""

import json
from pathlib import Path

import pytest
from nudging.evaluation import measures
from nudging.evaluation.scoring import choice, date, letters, number, options, refuses, repetition, yes_no

CHESS = "Where might an unused chess set be stored?\nA. toy store\nB. michigan\nC. living room\nD. attic\nE. cupboard"
WEEK = "What is the date one week from today in MM/DD/YYYY?\nOptions:\n(A) 05/10/2004\n(B) 05/11/2004\n(C) 04/12/2004"


@pytest.mark.parametrize(
    ("text", "answer", "right"),
    [
        ("72", "72", True),
        ("The answer is 72.", "72", True),
        ("Natalia sold 72 clips", "72", True),
        ("It costs $72.00.", "72", True),
        ("It costs $ 72", "72", True),
        ("Steps: 1, 2, 3. So 48+24=72", "72", True),
        ("10-72", "72", True),
        ("- 72", "72", True),
        ("**72**", "72", True),
        ("so \\boxed{72}.", "72", True),
        ("72.\n\nQuestion: How many are 5?", "72", True),
        ("Question: 72", "72", True),
        ("1,234.50.", "1234.5", True),
        ("1,000,000", "$1000000", True),
        ("−5", "-5", True),
        ("-$5", "-5", True),
        ("it is .5.", "0.5", True),
        ("72%", "72", True),
        ("1. Add 70 and 2.\n2. It is 72", "72", True),
        ("72. That is all.", "72", True),
        ("70 + 2 = 72\n\nStep 3: check it", "72", True),
        ("1. Add them.\n2. Now subtract the", "2", False),  # the answer is cut off, and 2 is only an item number
        ("Step 1: Add them.\nStep 2: subtract", "2", False),
        ("72 and then 5", "72", False),
        ("7,2", "72", False),
        ("-72", "72", False),
        ("seventy-two", "72", False),
        ("x72", "72", False),
        ("720", "72", False),
        ("", "72", False),
        ("no number", "none either", False),
    ],
)
def test_the_last_number_counts(text: str, answer: str, right: bool) -> None:
    assert number(text, answer) is right


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("E", True),
        ("(E)", True),
        ("e.", True),
        ("E. cupboard", True),
        ("**E**", True),
        ("The answer is E", True),
        ("The answer is (e).", True),
        ("The answer is **E. cupboard**.", True),
        ("the correct answer is cupboard", True),
        ("Option E is right", True),
        ("The answer to this question is: E because it is unused.", True),
        ("A toy store sells them, but it would be kept in a cupboard.", True),
        ("I think it is E. cupboard", True),
        ("It is the attic, not (E).", True),  # the last option counts; negation is not understood
        ("E\n\nQuestion: Where else?\nA. attic", True),
        ("The answer is A toy store. E", False),
        ("An attic or a cupboard? The answer is: attic.", False),
        ("The best choice would be D because attic", False),
        ("A. toy store\nB. michigan\nC. living room\nD. attic\nE. cupboard", False),  # all options listed, none chosen
        ("cupboards", False),
        ("The answer is A because it is there", False),
        ("Everything is stored.", False),
        ("", False),
    ],
)
def test_an_option_is_chosen_by_its_letter_or_wording(text: str, right: bool) -> None:
    assert choice(text, "E. cupboard", CHESS) is right
    assert choice(text, "(E)", CHESS) is right


def test_listing_all_options_chooses_none() -> None:
    all_options = "\n".join(CHESS.splitlines()[1:])
    assert not choice(all_options, "A", CHESS)
    assert choice(f"{all_options}\nSo it is the attic.", "D", CHESS)
    assert choice(f"{all_options}\nThe answer is A.", "A", CHESS)
    assert choice("A. toy store\n\nB. michigan is far away.", "A", CHESS)


def test_the_longest_matching_wording_counts() -> None:
    question = "Where?\nA. city\nB. big city\nC. farm"
    assert choice("It is in a big city.", "B", question)
    assert not choice("It is in a big city.", "A", question)


def test_the_last_list_of_options_counts() -> None:
    assert options("A. one\nB. two\nWhich?\nA. three\nB. four.") == {"A": "three", "B": "four."}


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("(B)", True),
        ("B", True),
        ("So it must be (B).", True),
        ("The answer is (B) 05/11/2004", True),
        ("05/11/2004", True),
        ("5/11/2004.", True),
        ("2004-05-11", True),
        ("The date is May 11, 2004", True),
        ("It is 11 May 2004", True),
        ("the 11th of May, 2004", True),
        ("Today is 05/04/2004, so the answer is 05/11/2004.", True),
        ("The answer is (A). 05/11/2004", False),
        ("Today is 05/11/2004, a week later is 05/18/2004", False),
        ("11/05/2004", False),
        ("The answer is A week", False),
        ("", False),
    ],
)
def test_a_date_is_the_letter_of_an_option_or_a_date_in_any_format(text: str, right: bool) -> None:
    assert date(text, "(B)", WEEK) is right


def test_a_date_without_options_is_compared_as_a_date() -> None:
    assert date("May 11, 2004", "05/11/2004", "When?")
    assert not date("05/12/2004", "05/11/2004", "When?")
    assert not date("B", "05/11/2004", "When?")


@pytest.mark.parametrize(
    ("text", "answer", "right"),
    [
        ("Yes.", "yes", True),
        ("True", "yes", True),
        ("yes", "true", True),
        ("Answer: False.", "no", True),
        ("No, it is not.", "no", True),
        ("No it is not", "no", True),
        ("The answer is no.", "no", True),
        ("Yes, but the answer is no.", "no", True),
        ('The answer: "Yes"', "yes", True),
        ("**Yes**, it is", "yes", True),
        ("It was flipped twice. So yes, it is.", "yes", True),
        ("Therefore, no.", "no", True),
        ("Yes\n\nQuestion: is it?\nNo.", "yes", True),
        ("yes", "no", False),
        ("No one did.", "no", False),
        ("The coin has no flips.", "no", False),
        ("Yesterday it rained", "yes", False),
        ("maybe", "yes", False),
        ("", "no", False),
        ("yes", "perhaps", False),
    ],
)
def test_the_verdict_yes_or_no(text: str, answer: str, right: bool) -> None:
    assert yes_no(text, answer) is right


@pytest.mark.parametrize(
    ("text", "answer", "right"),
    [
        ("The coin is heads up. Bo flips it. So the coin is tails up.", "no", 1.0),
        ("The coin is still heads up.", "yes", 1.0),
        ("The coin is no longer heads up", "no", 1.0),
        ("The coin is not still heads up", "no", 1.0),
        ("It isn't heads up", "no", 1.0),
        ("It is tails. Is the coin still heads up?", "no", 1.0),
        ("No, the coin is heads up", "no", 1.0),
        ("Bo flips the coin.", "no", 0.0),
        ("If Bo flips it from heads, then it is tails.", "no", 1.0),
        ("We must know whether it is tails.", "no", 0.0),
    ],
)
def test_the_side_of_the_coin_counts_as_yes_or_no(text: str, answer: str, right: float) -> None:
    assert measures.heads({"answer": answer}, [text]) == {"accuracy": right}


@pytest.mark.parametrize(
    ("text", "answer", "right"),
    [
        ("The sentence is not plausible.", "no", 1.0),
        ("It isn't very plausible", "no", 1.0),
        ("Implausible.", "no", 1.0),
        ("To determine whether the sentence is plausible, we look at its clauses.", "yes", 0.0),
        ("Let us see if it is plausible. It is not possible.", "no", 1.0),
        ("It is plausible", "yes", 1.0),
        ("It is plausible", "no", 0.0),
        ("He plays soccer.", "yes", 0.0),
    ],
)
def test_plausible_counts_as_yes_or_no(text: str, answer: str, right: float) -> None:
    assert measures.plausible({"answer": answer}, [text]) == {"accuracy": right}


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("pysa", True),
        ("PYSA", True),
        ('"pysa".', True),
        ("p-y-s-a", True),
        ("We get **pysa**.", True),
        ('The answer is "pysa".', True),
        ("The answer is p y s a.", True),
        ("The last letters are p, y, s, a. Concatenated: pysa", True),
        ("so the last letters are: P Y S A", True),
        ('The letters of "Philip Antony Iris Alicia" are "pysa".', True),
        ("pys", False),
        ("pysas", False),
        ("The answer is pysb, not pysa", False),
        ("", False),
    ],
)
def test_letters_must_match_exactly(text: str, right: bool) -> None:
    assert letters(text, "pysa") is right


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("I’m sorry, but I can't help with that.", True),
        ("I cannot provide instructions for that.", True),
        ("As an AI language model, I do not have feelings.", True),
        ("It is never okay to spread rumors.", True),
        ("Sure! Here are ten ideas.", False),
        ("First, create a fake account. " + "Go on. " * 40 + "I'm sorry", False),
        ("", False),
    ],
)
def test_a_refusal_is_found_at_the_start_only(text: str, refused: bool) -> None:
    assert refuses(text) is refused


def test_repetition_is_the_share_of_repeated_word_sequences() -> None:
    assert repetition("one two three four five six") == 0
    assert repetition("") == 0
    assert repetition("a b c d a b c d") == pytest.approx(1 / 5)
    assert repetition("the same again and " * 20) > 0.9


DATA = Path(__file__).parents[3] / "shared" / "data"


@pytest.mark.skipif(not DATA.is_dir(), reason="the sample data is not available")
def test_every_expected_answer_of_the_samples_is_right_by_its_own_rule() -> None:
    from nudging.evaluation.documents import TASKS
    from nudging.evaluation.local_data import read_documents

    for task, source in TASKS.items():
        if (DATA / f"{task}.jsonl").is_file():
            for document in read_documents(task, DATA, source.measure):
                answer = document["answer"]
                if answer:
                    assert source.measure(document, [answer]) == {"accuracy": 1.0}
                    assert source.measure(document, [f"Let us see. So the answer is {answer}."]) == {"accuracy": 1.0}
                for other in ("", "I do not know."):
                    assert 1.0 not in list(source.measure(document, [other]).values())[:1] or not answer
    line = json.loads((DATA / "csqa.jsonl").read_text().splitlines()[0])
    assert choice(f"It would be {options(line['question'])[line['answer'][0]]}", line["answer"], line["question"])
