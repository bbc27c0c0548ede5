"""Bytes behind a lost packet: counted when they arrive, not when the hole before them is filled."""

from hypothesis import given
from hypothesis import strategies as st

from agent.measure.engines.http import LEARN_BYTES, OutOfOrderBytes


def test_nothing_is_guessed_before_something_was_read() -> None:
    assert OutOfOrderBytes().payload_bytes(1_000_000) == 0


@given(st.floats(1.05, 4.0), st.integers(LEARN_BYTES, 10_000_000), st.integers(0, 10_000_000))
def test_what_the_kernel_holds_for_a_byte_is_learnt_from_what_is_read(ratio: float, read: int, behind: int) -> None:
    overtook = OutOfOrderBytes()
    overtook.learn(int(read * ratio), read)
    assert abs(overtook.payload_bytes(int(behind * ratio)) - behind) <= 2 + behind * 1e-3


def test_small_reads_and_memory_that_grew_teach_nothing() -> None:
    overtook = OutOfOrderBytes()
    overtook.learn(100_000, LEARN_BYTES - 1)
    overtook.learn(-5_000, 100_000)
    assert overtook.payload_bytes(1_000) == 0
