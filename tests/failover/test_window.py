from random import Random

from trio_gateway.failover.window import BUCKETS, Window


def counts(window: Window, now: float) -> tuple[int, float, float]:
    window.move(now)
    return window.requests, window.good, window.failures


def test_what_is_counted_is_kept_for_the_span_and_gone_after_it() -> None:
    window = Window(10.0)
    window.add(0.0, 2, 1.0, 0.5)

    assert counts(window, 9.9) == (2, 1.0, 0.5)
    assert counts(window, 10.0) == (0, 0.0, 0.0)


def test_buckets_expire_one_by_one() -> None:
    window = Window(10.0)
    for second in range(10):
        window.add(float(second), 1, 1.0, 0.0)

    assert [counts(window, 10.0 + s)[0] for s in range(10)] == list(range(9, -1, -1))


def test_a_long_silence_forgets_everything() -> None:
    window = Window(10.0)
    window.add(3.0, 1, 0.0, 1.0)

    assert counts(window, 1e9) == (0, 0.0, 0.0)


def test_the_sums_are_those_of_the_buckets_that_are_not_expired() -> None:
    random = Random("window/sums")
    window, told, now = Window(60.0), [], 0.0
    for _ in range(3000):
        now += random.choice([0.0, 0.1, 1.0, 5.9, 6.0, 20.0, 70.0])
        news = (random.randrange(3), random.choice([0.0, 1.0]), random.choice([0, 0.5]))
        window.add(now, *news)
        told.append((now // 6.0, news))
        kept = [n for number, n in told if number > now // 6.0 - BUCKETS]
        assert (window.requests, window.good, window.failures) == tuple(
            map(sum, zip(*kept, strict=True))
        )


def test_a_clock_that_steps_back_a_little_counts_into_the_newest_bucket() -> None:
    window = Window(10.0)
    window.add(100.0, 1, 1.0, 0.0)
    window.add(97.0, 1, 1.0, 0.0)

    assert counts(window, 109.9)[0] == 2
    assert counts(window, 110.0)[0] == 0


def test_a_clock_that_steps_back_a_lot_begins_anew_and_still_expires() -> None:
    window = Window(10.0)
    window.add(1000.0, 1, 1.0, 0.0)
    window.add(5.0, 1, 1.0, 0.0)

    assert counts(window, 5.0)[0] == 1
    assert counts(window, 15.0)[0] == 0
