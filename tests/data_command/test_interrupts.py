"""Ctrl-C is heard, also where Python loses the exception for it."""

from __future__ import annotations

import os
import signal
import weakref

import pytest

from fearless.data_command.interrupts import Interrupts


class Thing:
    """Something that a weak reference can be to."""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_what_is_done(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), Interrupts() as interrupts:
        os.kill(os.getpid(), number)
    assert interrupts.heard
    assert signal.getsignal(number) == before


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_one_that_is_lost_in_a_callback_is_told() -> None:
    with Interrupts() as interrupts:
        interrupts.check()
        thing = Thing()
        reference = weakref.ref(thing, lambda _: os.kill(os.getpid(), signal.SIGINT))
        del thing
        assert reference() is None
        with pytest.raises(KeyboardInterrupt):
            interrupts.check()
