"""Telling noise from a message: so many answers excuse a refusal.

A target with all the capacity in the world still says "overloaded" or "too many
requests" now and then, and one that browns out says so to one request in four while it
answers the others. Taken at its word each time, it would be held back by a third or
left alone for seconds on each of them, and the more is asked of it, the more of them
there are: with 50 requests a second and one such word in 400, two targets that are well
were held back until most clients were turned away.

    share of refusals    up to a share             above
                         excused: the request      the target means it: its limit
                         goes elsewhere, and       falls, or it is left alone
                         that is all

Some may be excused in a row, for luck comes in clusters; a real limit answers the next
one within the same second. What says when to come back is a message by itself, and is
never excused.
"""


class Noise:
    """How many refusals of one target its answers excuse; none before there are any.

    Args:
        answers_an_excuse: how many answers excuse one refusal.
        excuses_most: how many refusals can be excused in a row.
    """

    __slots__ = ("answers", "most", "price")

    def __init__(self, *, answers_an_excuse: int, excuses_most: int) -> None:
        self.price = answers_an_excuse
        self.most = excuses_most * answers_an_excuse
        self.answers = 0
        """Those that excuse something yet, 0 to `most`."""

    def answered(self) -> None:
        """The target answered well."""
        self.answers = min(self.most, self.answers + 1)

    def excuses(self) -> bool:
        """Whether one more refusal is noise; if so, it uses up what excused it."""
        if self.answers < self.price:
            return False
        self.answers -= self.price
        return True


def noise_of_overloads() -> Noise:
    """Refusals for want of capacity: up to a third, and ten in a row.

    A target that browns out may refuse a quarter of what it is sent, however little
    that is. A refusal costs a failover and no time; to hold back costs clients.
    """
    return Noise(answers_an_excuse=2, excuses_most=10)


def noise_of_throttles() -> Noise:
    """Refusals for asking too often: up to a tenth, and five in a row.

    They are half a percent on a good day, 5 % of all requests to language models in
    Datadog's February of 2026. Where a rate limit is passed by more, those that are
    refused may count against it, too.
    """
    return Noise(answers_an_excuse=10, excuses_most=5)
