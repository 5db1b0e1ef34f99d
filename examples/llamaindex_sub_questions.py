"""A LlamaIndex query engine that splits a question into sub-questions, which follow a schema.

python examples/llamaindex_sub_questions.py
"""

from typing import Literal

from llama_index.core.query_engine import SubQuestionQueryEngine
from llama_index.core.question_gen import LLMQuestionGenerator
from llama_index.core.tools import QueryEngineTool
from llamaindex_index import build_index
from nudging.models.demo import demo_pair
from pydantic import BaseModel, Field

from llamaindex_nudging import NudgingLLM

SPLIT = "Split this question into two simpler ones, one for each thing that it asks about: {query_str}"


class SubQuestion(BaseModel):
    sub_question: str
    tool_name: Literal["buildings"]


class SubQuestions(BaseModel):
    items: list[SubQuestion] = Field(min_length=1, max_length=2)


def main() -> None:
    llm = NudgingLLM(base_model=demo_pair()[0], nudging_model=demo_pair()[1], max_tokens=96)
    buildings = build_index().as_query_engine(llm=llm, similarity_top_k=1)
    tool = QueryEngineTool.from_defaults(buildings, name="buildings", description="Famous buildings")
    generator = LLMQuestionGenerator.from_defaults(llm.as_structured_llm(SubQuestions), SPLIT)
    engine = SubQuestionQueryEngine.from_defaults([tool], llm=llm, question_gen=generator)
    print(engine.query("When was the Eiffel Tower completed, and when was the Colosseum opened?"))


if __name__ == "__main__":
    main()
