"""Week 12's token bucket: by hand, against a simulation in whole numbers, and in the hands of many callers."""

import math
import time
from fractions import Fraction
from inspect import signature

import numpy as np
import pytest

from week12_deploy.limits import Limiter, TokenBucket


class Clock:
    """Seconds as a test wants them."""

    def __init__(self, now=1_000.0):
        self.now = now

    def __call__(self):
        return self.now


def bucket(rate=2.0, burst=3.0):
    clock = Clock()
    return TokenBucket(rate, burst, clock), clock


@pytest.mark.exercise(3)
def test_a_full_bucket_gives_its_burst_and_then_says_how_long_to_wait():
    full, _ = bucket(rate=2.0, burst=3.0)
    found = [full.take() for _ in range(3)]
    assert found == [0.0, 0.0, 0.0], f"a new bucket of 3 holds 3 tokens, and take() gives 0.0 for each, not {found}"
    wait = full.take()
    assert isinstance(wait, float), f"take() gives {wait!r} of an empty bucket, should be seconds: is `return` missing?"
    assert wait == 0.5, f"empty, with 2 tokens a second: the next one is there in 0.5 s, not {wait:g}"


@pytest.mark.exercise(3)
def test_it_fills_up_while_nobody_asks():
    empty, clock = bucket(rate=2.0, burst=3.0)
    for _ in range(3):
        empty.take()
    clock.now += 0.5
    assert empty.take() == 0.0, "half a second at 2 a second is a token, and it is not given"
    clock.now += 0.25
    wait = empty.take()
    assert wait == 0.25, f"a quarter of a second is half a token: the other half takes 0.25 s more, not {wait}"


@pytest.mark.exercise(3)
def test_it_never_holds_more_than_the_burst():
    full, clock = bucket(rate=2.0, burst=3.0)
    clock.now += 3_600
    given = 0
    while full.take() == 0.0 and given < 100:
        given += 1
    assert given == 3, f"after an hour of silence a bucket of 3 gives {given} tokens at once: it is not capped"


@pytest.mark.exercise(3)
def test_what_is_refused_costs_nothing():
    short, clock = bucket(rate=1.0, burst=2.0)
    short.take(2.0)
    for _ in range(5):
        assert short.take() > 0, "an empty bucket gives nothing"
    clock.now += 1
    assert short.take() == 0.0, "five refused requests have cost tokens: who tries again is held up for ever"


@pytest.mark.exercise(3)
def test_parts_of_a_token_are_kept():
    slow, clock = bucket(rate=1.0, burst=1.0)
    slow.take()
    for _ in range(9):
        clock.now += 0.125
        slow.take(0.0)  # somebody looks in
    assert slow.take() == 0.0, "who asks eight times a second never gets a token: parts of one are lost at each call"


@pytest.mark.exercise(3)
def test_more_than_it_ever_holds_is_never_given():
    small, clock = bucket(rate=5.0, burst=2.0)
    clock.now += 100
    assert small.take(3.0) == math.inf, "3 tokens out of a bucket that holds 2: inf, since waiting does not help"
    assert small.take(2.0) == 0.0, "and that has cost nothing"


@pytest.mark.exercise(3)
def test_as_a_simulation_in_fractions_has_it():
    """Exact arithmetic on times that floating point holds exactly: no drift over a thousand requests."""
    rng, rate, burst = np.random.default_rng(0), Fraction(3), Fraction(5)
    found, clock = bucket(3.0, 5.0)
    tokens, seen = burst, Fraction(0)
    for number in range(1_000):
        clock.now += int(rng.integers(0, 40)) / 64
        cost = float(rng.integers(1, 4))
        now = Fraction(clock.now - 1_000)
        tokens, seen = min(burst, tokens + (now - seen) * rate), now
        wait = Fraction(0) if cost <= tokens else (int(cost) - tokens) / rate
        tokens -= int(cost) * (wait == 0)
        assert found.take(cost) == pytest.approx(float(wait), abs=1e-9), f"request {number}"


def test_waiting_as_long_as_it_says_is_enough():
    for rate, burst in ((0.3, 1.0), (7.0, 2.5), (1_000.0, 10.0)):
        some, clock = bucket(rate, burst)
        while (wait := some.take()) == 0.0:
            pass
        clock.now += wait
        assert some.take() == pytest.approx(0.0, abs=1e-9)


def test_each_key_has_a_bucket_and_the_memory_is_bounded():
    clock = Clock()
    many = Limiter(1.0, 1.0, clock, most=100)
    assert many.take("a") == 0.0 and many.take("b") == 0.0 and many.take("a") == 1.0
    for number in range(1_000):
        many.take(number)
    assert len(many.buckets) == 100
    assert many.take("a") == 0.0, "forgotten, and so as good as new"
    assert all(Limiter(0.0, 1.0, clock).take("a") == 0.0 for _ in range(50)), "a rate of 0 holds nobody up"


def test_it_is_not_filled_by_the_clock_on_the_wall():
    """That one is set back and forth; time.monotonic is not."""
    for one in (TokenBucket, Limiter):
        assert signature(one).parameters["clock"].default is time.monotonic
