"""Ids: many from one draw, each used once."""

import os
import uuid

from kms.model.random_ids import DRAWN_AT_ONCE, RandomIds


def test_ids_are_drawn_many_at_a_time_and_used_once() -> None:
    draws = []

    def random_bytes(size: int) -> bytes:
        draws.append(size)
        return os.urandom(size)

    new_id = RandomIds(random_bytes)
    ids = [new_id() for _ in range(DRAWN_AT_ONCE + 1)]
    assert len(set(ids)) == len(ids)
    assert {(uuid.UUID(text).version, uuid.UUID(text).variant, len(text)) for text in ids} == {
        (4, uuid.RFC_4122, 32)
    }
    assert draws == [16 * DRAWN_AT_ONCE] * 2
