"""What a clock times, in which order, and what it waits for."""

import gc
import time

import pytest

from lossbench.bench.timing.clock import CpuClock, CudaClock, Timed, call_late, throttled


class Slow:
    """A result whose release takes time."""

    SECONDS = 0.02

    def __del__(self):
        time.sleep(self.SECONDS)


def test_only_the_call_and_the_release_of_its_result_are_timed():
    def nap(_=None):
        time.sleep(0.02)

    def call():
        time.sleep(0.01)
        return Slow()

    # A machine under load prolongs every nap, so the preparations would show too.
    seconds = CpuClock(Timed(call, nap, nap)).block_seconds(5)
    assert seconds >= 5 * (0.01 + Slow.SECONDS)
    start = time.perf_counter()
    outside = CpuClock(Timed(lambda: None, nap, nap)).block_seconds(5)
    assert time.perf_counter() - start >= 0.2
    assert outside < 0.05


def test_no_garbage_is_collected_within_a_block():
    collecting = []
    CpuClock(Timed(lambda: collecting.append(gc.isenabled()))).block_seconds(2)
    assert collecting == [False, False]
    assert gc.isenabled()


def test_the_clock_itself_takes_less_than_a_microsecond_per_call():
    clock = CpuClock(Timed(lambda: None))
    assert min(clock.block_seconds(1000) for _ in range(20)) / 1000 < 1e-6


class Event:
    def __init__(self, device):
        self.device, self.at = device, None

    def record(self):
        self.at = self.device.streams["current"]

    def synchronize(self):
        self.device.now = max(self.device.now, self.at)

    def elapsed_time(self, end):
        return 1000 * (end.at - self.at)


class Device:
    """A simulated CUDA device: streams, each busy until some time, and the host's clock."""

    LAUNCH, WAIT, CLEAR, DELAY = 5e-6, 4e-6, 50e-6, 1e-2

    def __init__(self):
        self.now, self.streams = 0.0, {"current": 0.0, "side": 0.0}

    def launch(self, seconds, stream="current"):
        self.now += self.LAUNCH
        self.streams[stream] = max(self.streams[stream], self.now) + seconds

    def event(self):
        return Event(self)

    def synchronize(self):
        self.now = max(self.now + self.WAIT, *self.streams.values())

    def clear_cache(self):
        self.launch(self.CLEAR)

    def delay(self):
        self.launch(self.DELAY)


def seconds_of(call, prepare=lambda _: None):
    device = Device()
    timed = Timed(lambda: call(device), lambda: prepare(device))
    return CudaClock(timed, device, lambda: device.now).block_seconds(10) / 10


def test_kernels_on_the_current_stream_are_timed_by_events():
    assert seconds_of(lambda device: device.launch(1e-3)) == pytest.approx(1e-3)
    assert seconds_of(lambda device: device.launch(2e-5)) == pytest.approx(2e-5)


def test_work_on_another_stream_counts():
    def call(device):
        device.launch(3e-3, "side")
        device.launch(1e-5)

    assert seconds_of(call) == pytest.approx(3e-3, rel=0.05)


def test_an_interrupted_empty_wait_hides_no_later_work_on_another_stream():
    class Interrupted(Device):
        waits = 0

        def synchronize(self):
            super().synchronize()
            self.waits += 1
            # The third of the empty waits takes a thousand times as long.
            self.now += 4e-3 if self.waits == 4 else 0.0

    device = Interrupted()
    timed = Timed(lambda: device.launch(1e-3, "side"))
    clock = CudaClock(timed, device, lambda: device.now)
    assert clock.block_seconds(10) / 10 == pytest.approx(1e-3, rel=0.05)


def test_waits_that_vary_on_an_idle_device_add_nothing():
    class Jittery(Device):
        def synchronize(self):
            super().synchronize()
            self.now += 0.8 * self.WAIT * (int(self.now * 1e9) % 2)

    device = Jittery()
    timed = Timed(lambda: device.launch(1e-3))
    clock = CudaClock(timed, device, lambda: device.now)
    assert clock.block_seconds(10) / 10 == pytest.approx(1e-3)


def test_work_on_both_streams_at_once_counts_once():
    def call(device):
        device.launch(1e-3, "side")
        device.launch(2e-3)

    assert seconds_of(call) == pytest.approx(2e-3, rel=0.05)


def test_preparing_and_clearing_the_cache_do_not_count():
    def prepare(device):
        device.launch(1e-2, "side")
        device.launch(1e-2)

    assert seconds_of(lambda device: device.launch(1e-3), prepare) == pytest.approx(1e-3)


@pytest.mark.parametrize(("stream", "late"), [("current", True), ("side", False)])
def test_a_late_call_finds_its_inputs_on_the_current_stream_alone(stream, late):
    device, begun = Device(), {}

    def give():
        device.launch(1e-5)
        begun["inputs"] = device.streams["current"]

    def call():
        begun["work"] = max(device.streams[stream], device.now)
        device.launch(1e-3, stream)

    call_late(give, call, device)
    assert (begun["work"] >= begun["inputs"]) == late
    assert device.now < device.DELAY


def test_samples_at_a_lower_clock_rate_are_counted():
    assert throttled([1980.0, 1980.0, 1965.0, 1410.0]) == 1
    assert throttled([0.0, 0.0]) == 0
