"""Records are dataclasses, whose methods are written when they are first used."""

from __future__ import annotations

import copy
import pickle
from dataclasses import asdict, field, fields, is_dataclass, replace
from typing import ClassVar

import pytest

from trtn.dsl.records import record


@record()
class Point:
    """A place."""

    x: int
    y: int = 2
    names: list[str] = field(default_factory=list, compare=False)
    ORIGIN: ClassVar[int] = 0

    @property
    def sum(self) -> int:
        return self.x + self.y


@record()
class Solid(Point):
    z: int = 3


@record(eq=False)
class Node:
    value: int

    def __repr__(self) -> str:
        return f"<{self.value}>"


def test_values_are_made_compared_and_shown() -> None:
    point = Point(1)
    assert (point.x, point.y, point.names, point.sum, Point.ORIGIN) == (1, 2, [], 3, 0)
    assert Point(1).names is not point.names
    assert point == Point(1, 2, ["other"]) != Point(1, 3)
    assert hash(point) == hash(Point(1, names=["other"]))
    assert repr(point) == "Point(x=1, y=2, names=[])"
    assert Point.__doc__ == "A place."
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'x'"):
        Point()  # type: ignore[call-arg]


def test_what_dataclasses_offers_works() -> None:
    point = Point(1)
    assert is_dataclass(Point)
    assert [f.name for f in fields(Point)] == ["x", "y", "names"]
    assert replace(point, y=5) == Point(1, 5)
    assert asdict(point) == {"x": 1, "y": 2, "names": []}
    assert copy.deepcopy(point) == pickle.loads(pickle.dumps(point)) == point
    match point:
        case Point(x, 2):
            assert x == 1
        case _:
            raise AssertionError


def test_records_have_slots() -> None:
    with pytest.raises(AttributeError):
        Point(1).other = 1  # type: ignore[attr-defined]


def test_a_record_of_another_has_its_fields_first() -> None:
    assert repr(Solid(1, z=4)) == "Solid(x=1, y=2, names=[], z=4)"
    assert Solid(1) != Point(1)
    assert Solid(1).sum == 3


def test_without_eq_each_is_itself() -> None:
    node = Node(1)
    assert node != Node(1)
    assert {node: "a"}[node] == "a"
    assert repr(node) == "<1>"
