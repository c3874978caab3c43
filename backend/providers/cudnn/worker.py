"""A process that builds plans for another one: cuDNN compiles one kernel at a time in each.

It reads lines of JSON, [graph, plan], and answers each with a line: the plan's bytes in base64, or `!` and why there
are none. It ends with its input.
"""

from __future__ import annotations

import base64
import json
import os
import sys
from typing import TextIO

from trtn.backend.providers.cudnn.library import CudnnError, build_plan
from trtn.backend.providers.cudnn.spec import GraphSpec, PlanName

__all__ = ["serve"]


def serve(requests: TextIO, answers: TextIO) -> None:
    for line in requests:
        graph, name = json.loads(line)
        answers.write(_answer(GraphSpec.from_json(graph), PlanName.parse(name)) + "\n")
        answers.flush()


def _answer(spec: GraphSpec, name: PlanName) -> str:
    try:
        return base64.b64encode(build_plan(spec, name, 0).write()).decode("ascii")
    except CudnnError as e:
        return "!" + " ".join(str(e).split())


if __name__ == "__main__":
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)  # what libraries print is no answer
        serve(sys.stdin, answers)
