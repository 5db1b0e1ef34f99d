"""A LlamaIndex chat engine: a streamed conversation about documents.

python examples/llamaindex_chat_engine.py
"""

from llama_index.core.chat_engine.types import ChatMode
from llamaindex_index import build_index
from nudging.models.demo import demo_pair

from llamaindex_nudging import NudgingLLM


def main() -> None:
    base_model, nudging_model = demo_pair()
    llm = NudgingLLM(base_model=base_model, nudging_model=nudging_model, max_tokens=48)
    engine = build_index().as_chat_engine(chat_mode=ChatMode.CONDENSE_PLUS_CONTEXT, llm=llm, similarity_top_k=1)
    for question in ["How tall is the Eiffel Tower?", "In which city does it stand?"]:
        print(">", question)
        for text in engine.stream_chat(question).response_gen:
            print(text, end="", flush=True)
        print()


if __name__ == "__main__":
    main()
