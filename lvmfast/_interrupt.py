"""Ctrl-C at places where nothing is lost."""

from __future__ import annotations

import contextlib
import signal
import threading


@contextlib.contextmanager
def deferred_interrupt():
    """``with deferred_interrupt() as check:`` holds Ctrl-C back until ``check()``, which raises KeyboardInterrupt.

    A second Ctrl-C is not held back. Outside the main thread signals do not arrive, and ``check`` does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    previous = signal.getsignal(signal.SIGINT)
    if previous is None:  # a handler that Python did not install and could not put back
        yield lambda: None
        return
    pressed = False

    def handler(number, frame):
        nonlocal pressed
        if pressed and callable(previous):
            previous(number, frame)
        pressed = True

    def check():
        nonlocal pressed
        if pressed:
            pressed = False
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, handler)
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, previous)
    if pressed and callable(previous):  # after the last check
        previous(signal.SIGINT, None)
