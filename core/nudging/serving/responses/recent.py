"""The last items of answers, in memory: some clients refer to them by their ids instead of sending them again."""

from collections import OrderedDict
from collections.abc import Sequence

from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage

from nudging.serving.errors import ApiError
from nudging.serving.responses.items import AssistantItem, FunctionCall, Item, ItemReference


class RecentItems:
    """Remembers the last items of answers.

    Args:
        size: Maximum number of items.
    """

    def __init__(self, size: int = 1000) -> None:
        self._items: OrderedDict[str, AssistantItem | FunctionCall] = OrderedDict()
        self._size = size

    def remember(self, items: Sequence[ResponseOutputMessage | ResponseFunctionToolCall]) -> None:
        """Remember the items of an answer, and forget the oldest ones if there are too many."""
        for item in items:
            match item:
                case ResponseFunctionToolCall(id=str(id_)):
                    self._items[id_] = FunctionCall.model_validate(
                        item.model_dump(include={"type", "call_id", "name", "arguments"})
                    )
                case ResponseOutputMessage(id=id_, content=[part, *_]):
                    self._items[id_] = AssistantItem(role="assistant", content=getattr(part, "text", ""))
        while len(self._items) > self._size:
            self._items.popitem(last=False)

    def resolved(self, items: str | Sequence[Item]) -> str | list[Item]:
        """Return the input of a request with the items in place of references to them.

        Raises:
            ApiError: An item is not known, or no longer.
        """
        if isinstance(items, str):
            return items
        return [self._resolved(item) if isinstance(item, ItemReference) else item for item in items]

    def _resolved(self, reference: ItemReference) -> Item:
        if reference.id not in self._items:
            raise ApiError(
                404,
                f"there is no item {reference.id!r:.80} here, or no longer: send the item itself, which clients do "
                "with store: false",
                code="item_not_found",
                param="input",
            )
        self._items.move_to_end(reference.id)
        return self._items[reference.id]
