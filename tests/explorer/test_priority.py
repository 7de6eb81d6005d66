"""Work that can wait begins once nothing urgent has been computed for a while."""

import threading
import time

from ddgan.explorer.priority import once_idle, urgent


def test_work_for_idle_moments_waits_for_what_is_urgent_and_for_a_while_after():
    begun, ended = threading.Event(), 0.0
    with urgent():
        once_idle(0.2, begun.set)
        assert not begun.wait(0.5), "something urgent is computed"
        ended = time.monotonic()
    assert begun.wait(10) and time.monotonic() - ended >= 0.2
