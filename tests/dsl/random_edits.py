"""What happens to a text in an editor: letters come and go, lines are copied, moved, taken out and put back."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

__all__ = ["session"]

_TYPED = [
    "x",
    " ",
    "\n",
    "(",
    ")",
    "{",
    "}",
    "=",
    ",",
    '"',
    "#",
    "`",
    "1",
    ".",
    "-",
    " + a",
    " = relu(x)",
    "[0]",
    "\n  ",
]
_NAME = re.compile(r"[A-Za-z_]\w*")


def session(text: str, rng: random.Random, edits: int) -> Iterator[str]:
    """The texts after each edit; every other time a person takes back what was done since some earlier text."""
    texts = [text]
    for _ in range(edits):
        texts.append(_edited(texts[-1], rng) if rng.random() < 0.6 else rng.choice([text, *texts[-3:]]))
        yield texts[-1]


def _edited(text: str, rng: random.Random) -> str:
    """The text after one more edit, which may well break it."""
    lines = text.split("\n")
    at, other = rng.randrange(1, len(lines)), rng.randrange(1, len(lines))
    match rng.randrange(7):
        case 0:
            place = rng.randrange(len(text))
            return text[:place] + rng.choice(_TYPED) + text[place:]
        case 1:
            place = rng.randrange(len(text))
            return text[:place] + text[place + rng.randrange(1, 4) :]
        case 2:
            lines.insert(at, lines[other])
        case 3:
            del lines[at]
        case 4:
            lines.insert(at, lines.pop(other))
        case 5:  # another name that the text has, or a number in its place
            names = list(_NAME.finditer(text))
            old, new = rng.choice(names), rng.choice(names)
            return text[: old.start()] + (new.group() if rng.random() < 0.8 else "3") + text[old.end() :]
        case 6:
            lines[at] += rng.choice(["  # why", "", " "])
    return "\n".join(lines)
