"""Turns of one session that an SDK sends in one request."""

import json
from pathlib import Path

import pytest

from tests.sampling.rig import CHAT, running
from tests.spans import span


@pytest.mark.parametrize("first", [1, 2])
async def test_turns_that_come_in_one_request_are_compared_in_their_order(tmp_path: Path, first: int) -> None:
    question = [{"role": "user", "parts": [{"type": "text", "content": "Where is my order?"}]}]
    asked = CHAT | {"gen_ai.conversation.id": "c", "gen_ai.input.messages": json.dumps(question)}
    turns = [span(asked, trace=first, start_ms=0), span(asked, trace=3 - first, start_ms=300)]
    async with running(tmp_path) as rig:
        await rig.send(0.0, *turns)
        await rig.work(10.0)
        assert {trace: "regeneration" in one.signals for trace, one in rig.last().items()} == {first: True, 3 - first: True}
