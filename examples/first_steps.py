"""First steps: a base model answers with the help of a small chat model, and you see who wrote what.

python examples/first_steps.py
"""

from nudging import Nudger
from nudging.evaluation.single_model import generate_alone
from nudging.models.demo import demo_pair

QUESTION = "What are three tips for staying healthy?"


def main() -> None:
    # A nudger is a base model and a small aligned model. They are loaded at the first question.
    base_model, nudging_model = demo_pair()
    nudger = Nudger(base_model=base_model, nudging_model=nudging_model, max_tokens=40)

    # The base model writes where it is sure. The highlighted words are the nudging model's.
    answer = nudger.generate(QUESTION)
    print(answer)

    # The base model alone does not know how to answer.
    alone = generate_alone(nudger, "base", QUESTION)
    print(alone)

    # An answer is a list of pieces, each with its author.
    for piece in answer.pieces[:8]:
        print(f"{piece.author:8} {piece.text!r}")

    # The base model writes while its top-1 probability is at least the threshold (here 0.4). A higher one nudges more.
    nudged_more = nudger.generate(QUESTION, threshold=0.7)
    print(nudged_more)


if __name__ == "__main__":
    main()
