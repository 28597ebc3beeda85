"""Serializer + model handler as one decode and one encode, chosen once for a queue's whole life."""

from __future__ import annotations

from collections.abc import Callable
from json import JSONDecodeError
from typing import Any

from pydantic_core import ValidationError

from penstock.errors import DecodeError, FunctionError, InvalidMessage, MessageError
from penstock.model_handlers import ModelHandler
from penstock.pipeline.settlement import Stage
from penstock.queues.cancellation import raise_if_exit
from penstock.serializers import Serializer

_SHOWN = 5  # faults of one message that an error lists


class Codec:
    """How one queue turns bodies into objects and objects into bodies.

    Attributes:
        decode: Body → object; raises whatever the parts raise. `explain` turns that into a stage and a clear error.
        encode: Object → body; raises whatever the parts raise.
    """

    __slots__ = ("_model_handler", "_serializer", "data_model", "decode", "encode")

    def __init__(self, serializer: Serializer | None, model_handler: ModelHandler | None, data_model: Any) -> None:
        self._serializer = serializer
        self._model_handler = model_handler
        self.data_model = data_model
        self.decode: Callable[[Any], Any] = self._choose_decode()
        self.encode: Callable[[Any], Any] = self._choose_encode()

    def _choose_decode(self) -> Callable[[Any], Any]:
        serializer, handler = self._serializer, self._model_handler
        if handler is None:
            return _pass if serializer is None else serializer.deserialize
        if (direct := _direct_format(serializer, handler)) is not None:
            return handler.decoder(self.data_model, direct)
        if serializer is None:
            model, construct = self.data_model, handler.construct
            return lambda body: construct(body, model)
        deserialize, construct_plain = serializer.deserialize, handler.decoder(self.data_model, "")
        return lambda body: construct_plain(deserialize(body))

    def _choose_encode(self) -> Callable[[Any], Any]:
        serializer, handler = self._serializer, self._model_handler
        if handler is None:
            return _only_bytes if serializer is None else serializer.serialize
        if (direct := _direct_format(serializer, handler)) is not None:
            encode = handler.encoder(self.data_model, direct)
            if serializer is not None:
                return encode
            return lambda obj: obj if isinstance(obj, bytes) else encode(obj)  # bytes are what such a queue carries
        if serializer is None:
            model, deconstruct = self.data_model, handler.deconstruct
            return lambda obj: _only_bytes(deconstruct(obj, model))
        serialize, deconstruct_plain = serializer.serialize, handler.encoder(self.data_model, "")
        return lambda obj: serialize(deconstruct_plain(obj))

    def explain(self, body: bytes | None, error: BaseException) -> tuple[Stage, MessageError]:
        """Explain why `decode` rejected a body: the stage that failed, and an error without the message's data.

        The text of a third party's exception may quote the message, so only its type is shown. A serializer or model
        handler raises a `MessageError` to have its text shown.
        """
        if body is None:
            # Raised without a cause, here and below: the parser's error would hide this message.
            return "decode", DecodeError("the message is a tombstone: it has no body")
        if self._serializer is not None:
            if body == b"":
                return "decode", DecodeError("the body is empty")
            name = self._serializer.format or type(self._serializer).__name__
            try:
                self._serializer.deserialize(body)
            except BaseException as cause:  # noqa: BLE001  (any library's error means the same here)
                raise_if_exit(cause)
                return "decode", _chained(DecodeError(f"the body is not valid {name}: {_text(cause)}"), cause)
        if _is_invalid_json(error):  # by a handler that reads bytes itself; a serializer may bear deeper nesting
            return "decode", _chained(DecodeError(f"the body is not readable json: {_text(error)}"), error)
        model = self.data_model.__name__ if isinstance(self.data_model, type) else str(self.data_model)
        return "validate", _chained(InvalidMessage(f"the message does not fit {model}: {_text(error)}"), error)


def _direct_format(serializer: Serializer | None, handler: ModelHandler) -> str | None:
    """The format that the handler reads and writes itself, in one pass; None if the serializer is needed.

    Without a serializer a handler that knows a single format is a parser of that format.
    """
    if serializer is not None:
        return serializer.format if serializer.format in handler.direct_formats else None
    return next(iter(handler.direct_formats)) if len(handler.direct_formats) == 1 else None


def _pass(body: Any) -> Any:
    return body


def _only_bytes(obj: Any) -> bytes | None:
    if obj is None or isinstance(obj, bytes):
        return obj
    raise FunctionError(
        f"this queue has no serializer, so an output for it must be bytes, not {type(obj).__name__}; "
        f"encode it, or give the queue a serializer"
    )


def _chained(error: MessageError, cause: BaseException) -> MessageError:
    error.__cause__ = cause
    return error


def _is_invalid_json(error: BaseException) -> bool:
    if not isinstance(error, ValidationError):
        return False
    try:
        return error.errors(include_input=False)[0]["type"] == "json_invalid"
    except BaseException as another:  # noqa: BLE001  (as in `_text`)
        raise_if_exit(another)
        return False


def _text(error: BaseException) -> str:
    """The text of an error that does not quote the message."""
    try:
        return _own_text(error)
    except BaseException as another:  # noqa: BLE001  (the text of a user's exception is the user's code)
        raise_if_exit(another)
        return type(error).__name__


def _own_text(error: BaseException) -> str:
    if isinstance(error, ValidationError):
        return _validation_text(error)
    if isinstance(error, JSONDecodeError):
        return f"{error.msg}: line {error.lineno} column {error.colno}"
    if isinstance(error, UnicodeDecodeError):
        return f"{error.reason} at byte {error.start}"
    return str(error) if isinstance(error, MessageError) else type(error).__name__


def _validation_text(error: ValidationError) -> str:
    # pydantic's own text repeats the input; its list of errors can leave it out.
    found = error.errors(include_input=False, include_url=False, include_context=False)
    parts = []
    for each in found[:_SHOWN]:
        # This rule's text quotes the message.
        text = "unknown tag" if each["type"] == "union_tag_invalid" else each["msg"]
        parts.append(f"{'.'.join(map(str, each['loc'])) or 'body'}: {text}")
    if len(found) > _SHOWN:
        parts.append(f"and {len(found) - _SHOWN} more")
    return "; ".join(parts)
