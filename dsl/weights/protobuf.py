"""The little of protobuf's wire format that finding tensors inside a mapped model takes.

The protobuf package parses whole messages and copies every tensor; here a message is a range of bytes, and a
field of bytes is a range inside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Malformed", "Message", "varints"]


class Malformed(ValueError):
    """Bytes that are no protobuf message."""


@dataclass(frozen=True, slots=True)
class Message:
    """The bytes `start` to `end` of a file."""

    octets: memoryview
    start: int
    end: int

    def __len__(self) -> int:
        return self.end - self.start

    def fields(self) -> Iterator[tuple[int, int | Message]]:
        """Field numbers with their values, in the order of the file: an integer (varint, fixed) or a range of
        bytes.

        Raises Malformed where a field ends outside the message, or has a wire type that protobuf doesn't
        write any more.
        """
        at = self.start
        while at < self.end:
            tag, at = _varint(self.octets, at, self.end)
            number, wire = tag >> 3, tag & 7
            if wire == 0:
                value, at = _varint(self.octets, at, self.end)
                yield number, value
                continue
            if wire == 2:
                size, at = _varint(self.octets, at, self.end)
            elif wire in (1, 5):
                size = 8 if wire == 1 else 4
            else:
                raise Malformed(f"wire type {wire} at byte {at}")
            if size > self.end - at:
                raise Malformed(f"field of {size} bytes at byte {at} ends outside its message")
            yield (
                number,
                Message(self.octets, at, at + size)
                if wire == 2
                else int.from_bytes(self.octets[at : at + size], "little"),
            )
            at += size

    def bytes(self) -> bytes:
        return bytes(self.octets[self.start : self.end])

    def text(self) -> str:
        """Raises Malformed where the bytes are not UTF-8."""
        try:
            return self.bytes().decode()
        except UnicodeDecodeError as error:
            raise Malformed(f"text that is not UTF-8 at byte {self.start + error.start}") from None


def varints(value: int | Message) -> Iterator[int]:
    """The integers of one occurrence of a repeated field, packed or not."""
    if isinstance(value, int):
        yield value
        return
    at = value.start
    while at < value.end:
        number, at = _varint(value.octets, at, value.end)
        yield number


def _varint(octets: memoryview, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while at < end and shift < 70:
        octet = octets[at]
        at += 1
        value |= (octet & 0x7F) << shift
        if octet < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at
        shift += 7
    raise Malformed(f"integer at byte {at} never ends")
