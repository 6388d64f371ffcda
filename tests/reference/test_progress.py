import threading
import time

import pytest

from reference.config import Config
from reference.errors import Cancelled, ConfigError, ProgressTimeout, PullError
from reference.progress import Cancellation, ProgressReporter


def reporter(timeout: float = 10.0, interval: float = 10.0, floor: float = 5.0) -> ProgressReporter:
    config = Config(
        progress_timeout=timeout, progress_interval=interval, progress_interval_floor=floor
    )
    return ProgressReporter(config, "registry.test/app:v1", Cancellation())


@pytest.mark.parametrize(
    ("timeout", "interval"),
    [(60, 10), (10, 10), (9.9, 5), (8, 5), (3, 5), (1, 5)],  # PROG-04, PROG-05
)
def test_the_interval_is_half_a_short_timeout_but_not_below_the_floor(
    timeout: float, interval: float
) -> None:
    assert reporter(timeout).interval() == interval


def test_without_a_floor_half_of_the_timeout_counts() -> None:
    """Q-13: the floor is a setting."""
    assert reporter(timeout=1, floor=0).interval() == 0.5


def test_five_minutes_are_waited_where_nobody_says_how_long() -> None:
    assert Config().progress_timeout == 300  # PROG-22


@pytest.mark.parametrize("timeout", [-1.0, float("nan"), float("inf")])
def test_no_timeout_is_negative_or_endless(timeout: float) -> None:
    with pytest.raises(ConfigError, match="progress_timeout must be 0 to"):
        Config(progress_timeout=timeout)  # PROG-21, Q-15


def test_active_requests_without_bytes_stand_still_after_more_than_the_timeout() -> None:
    watch = reporter(timeout=10)
    watch.begin()
    assert not watch.look(100.0)  # idle until now: the clock starts here
    assert not watch.look(110.0)  # not longer than the timeout yet
    assert watch.look(110.1)  # PROG-01


def test_any_byte_on_any_request_counts() -> None:
    watch = reporter(timeout=10)
    watch.begin()
    watch.begin()
    assert not watch.look(100.0)
    for now in range(105, 300, 5):
        watch.received(1)
        assert not watch.look(float(now))  # PROG-06, PROG-07
    assert watch.look(310.0)


def drip_watch() -> ProgressReporter:
    config = Config(progress_timeout=10, min_rate=100)
    watch = ProgressReporter(config, "registry.test/app:v1", Cancellation())
    watch.begin()
    assert not watch.look(100.0)
    return watch


def test_a_drip_is_no_progress_where_a_rate_is_asked_for() -> None:
    """Incident A05: a byte now and then kept a pull alive for an hour."""
    watch = drip_watch()
    for now in (105.0, 110.0):
        watch.received(1)
        assert not watch.look(now)
    watch.received(1)
    assert watch.look(115.0)


def test_a_rate_is_looked_at_over_the_whole_time_since_it_was_good() -> None:
    watch = drip_watch()
    assert not watch.look(105.0)
    watch.received(1000)
    assert not watch.look(110.0)  # 1,000 bytes in 10 s make up for the pause
    watch.received(499)
    assert not watch.look(115.0)
    watch.received(501)
    assert not watch.look(120.0)
    assert not watch.look(130.0)
    assert watch.look(130.1)


def test_time_without_a_request_is_no_drip() -> None:
    watch = drip_watch()
    watch.end()
    assert not watch.look(200.0)
    watch.begin()
    assert not watch.look(300.0)
    assert not watch.look(310.0)
    assert watch.look(310.1)


def test_a_rate_needs_a_time_to_be_looked_at() -> None:
    with pytest.raises(ConfigError, match="min_rate"):
        Config(progress_timeout=0, min_rate=1)


def test_time_without_a_request_never_counts() -> None:
    watch = reporter(timeout=10)
    for now in range(0, 1000, 10):
        assert not watch.look(float(now))  # PROG-11, PROG-12


def test_a_request_is_not_charged_for_the_time_before_it() -> None:
    """PROG-14, Q-14"""
    watch = reporter(timeout=10)
    assert not watch.look(100.0)
    watch.begin()  # at 109, say
    assert not watch.look(110.0)
    assert not watch.look(120.0)
    assert watch.look(120.1)


def test_it_cancels_the_pull_and_stops() -> None:
    watch = reporter(timeout=0.05, floor=0.01)
    watch.begin()
    stopped = threading.Event()
    with watch.cancellation.calling(stopped.set), watch:
        assert stopped.wait(5)
    with pytest.raises(ProgressTimeout, match=r"registry.test/app:v1: no progress in 0.05s"):
        watch.cancellation.check()


def test_a_timeout_of_zero_means_no_watch() -> None:
    before = threading.active_count()
    with reporter(timeout=0) as watch:
        assert threading.active_count() == before  # PROG-02
        assert watch.status() == (0, 0)


def test_the_watch_ends_with_the_pull() -> None:
    before = threading.active_count()
    with reporter(timeout=60):
        assert threading.active_count() == before + 1
    assert threading.active_count() == before  # PROG-19


def test_cancelling_wakes_a_waiter_at_once() -> None:
    switch = Cancellation()
    threading.Timer(0.02, switch.cancel).start()
    started = time.monotonic()
    with pytest.raises(Cancelled):
        switch.wait(30)
    assert time.monotonic() - started < 5  # CANC-05


def test_the_first_reason_counts_and_late_callbacks_are_called() -> None:
    switch = Cancellation()
    switch.check()
    first = PullError("first")
    switch.cancel(first)
    switch.cancel(PullError("second"))
    assert switch.reason is first
    called: list[int] = []
    with switch.calling(lambda: called.append(1)):
        assert called == [1]
