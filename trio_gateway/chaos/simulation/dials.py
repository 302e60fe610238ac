"""What comes of the simulator's attempts: each dial goes to a target as it is there.

The target's supply says what the attempt gets, its line when; the attempt's own limits
say how long it may take. What comes of it is noted in the agenda, and told to whoever
has dialled: that it opened, that it failed, or that its answer ends otherwise.
"""

from collections.abc import Callable, Mapping
from functools import partial
from math import inf
from typing import Final

from trio_gateway.chaos.simulation.agenda import Agenda
from trio_gateway.chaos.simulation.crowd import Question
from trio_gateway.chaos.simulation.tally import Tally, TargetTally
from trio_gateway.chaos.vocabulary.script import UnderWay
from trio_gateway.chaos.worlds.line import Place
from trio_gateway.chaos.worlds.onsets import onset_of, striking
from trio_gateway.chaos.worlds.outline import Answers, Fails, Hangs, Outline
from trio_gateway.chaos.worlds.supply import DrawnSupply, Supply, opens_at_token
from trio_gateway.chaos.worlds.world import SimulatedTarget, Spell, World
from trio_gateway.failover.breaker import BreakerState
from trio_gateway.failover.commands import Dial
from trio_gateway.failover.deadlines import what_is_late
from trio_gateway.failover.engine import Engine
from trio_gateway.failover.failures import Failure, FailureClass
from trio_gateway.failover.fleet import Fleet
from trio_gateway.failover.health import Health
from trio_gateway.policy.route import Route, Target

_NO_CAPACITY: Final = Fails(Failure(FailureClass.OVERLOADED, "no capacity", 503), 0.02)
_NOT_CONNECTED: Final = Failure(FailureClass.CONNECT, "not connected in time")
# What becomes of an attempt when an outage begins: before its head, before its commit
# point, after it.
_RESET: Final = Failure(FailureClass.RESET, "connection reset")
_BROKEN: Final = Failure(FailureClass.BAD_ANSWER, "connection reset", 200)
_CUT: Final = Failure(FailureClass.INTERRUPTED, "connection reset")
_CLOSED: Final = BreakerState.CLOSED  # found more quickly, in Python 3.11
_IDLE: Final = Failure(FailureClass.TIMEOUT, "idle", 200)
_FELL_SILENT: Final = Failure(FailureClass.INTERRUPTED, "idle")


class Course:
    """One exchange under way."""

    __slots__ = (
        "alarm_at",
        "engine",
        "jobs",
        "opens_at_token",
        "question",
        "route",
        "started_at",
        "ticket",
    )

    engine: Engine  # once it has been let in

    def __init__(self, question: Question, route: Route, now: float) -> None:
        self.question = question
        self.route = route
        self.ticket = f"{question.name}/{question.tries}"
        self.started_at = now
        self.jobs: list[Job] = []
        self.alarm_at = inf
        is_stream = question.crowd.clients.is_stream
        self.opens_at_token = opens_at_token(route.commit, is_stream=is_stream)


class Job:
    """One attempt under way."""

    __slots__ = (
        "commit_by",
        "course",
        "ending",
        "ends_at",
        "heard_at",
        "is_open",
        "is_over",
        "is_silent",
        "number",
        "place",
        "provider",
    )

    def __init__(self, course: Course, dial: Dial, provider: "Provider") -> None:
        self.course = course
        self.number = dial.attempt
        self.commit_by = dial.commit_by
        self.provider = provider
        self.is_open = False
        self.is_over = False
        self.is_silent = False  # nothing of it comes any more
        self.heard_at = inf  # when it opens, if nothing can come between
        self.ends_at = inf
        self.ending: Failure | None = None
        self.place: Place | None = None


class Provider:
    """One target as the simulator has it."""

    __slots__ = ("health", "onsets", "supply", "tally", "target")

    def __init__(
        self,
        target: Target,
        health: Health,
        supply: Supply,
        tally: TargetTally,
        onsets: tuple[Spell, ...],
    ) -> None:
        self.target = target
        self.health = health  # in the gateway's eyes
        self.supply = supply
        self.tally = tally
        self.onsets = onsets  # those that strike what is under way


class Dials:
    """All attempts of a run, and the targets that they go to.

    Args:
        world: what the targets are like.
        agenda: where what will come of them is noted.
        fleet: whose view of the targets is noted with each change.
        tally: counts.
        supplies: in place of what the world says of a target, by its id.
        on_opened: is told of each that opens, unless it has ended before.
        on_failed: is told of each that fails, likewise.
        on_broken: is told of each open one that ends otherwise than was noted.
    """

    def __init__(
        self,
        world: World,
        agenda: Agenda,
        fleet: Fleet,
        tally: Tally,
        *,
        supplies: Mapping[str, Supply],
        on_opened: Callable[[Job], None],
        on_failed: Callable[[Job, Failure], None],
        on_broken: Callable[[Job], None],
    ) -> None:
        self._world = world
        self._agenda = agenda
        self._fleet = fleet
        self._tally = tally
        self._supplies = supplies
        self._on_opened = on_opened
        self._on_failed = on_failed
        self._on_broken = on_broken
        self._providers: dict[str, Provider] = {}
        for route in world.routes:
            for target in (*route.targets, *route.context_chain):
                self._provider(target)

    def begin(self, course: Course, dial: Dial) -> None:
        """Send an attempt."""
        now, provider = self._agenda.now, self._provider(dial.target)
        self._tally.dialled(provider.tally, now, is_first=dial.attempt == 1)
        job = Job(course, dial, provider)
        # The dice are named as a target could: it sees its own requests only.
        turn, jobs = 1, course.jobs
        if jobs:
            turn += sum(other.provider is provider for other in jobs)
        jobs.append(job)
        name = f"{course.ticket}/{dial.target.id}/{turn}"
        outline = provider.supply.outline(
            name,
            tokens=course.question.tokens,
            opens_at_token=course.opens_at_token,
            now=now,
        )
        self.note_state(provider)
        if provider.onsets:
            self._note_onset(job, outline, name)
        line = provider.supply.line
        if line is None or not isinstance(outline, Answers):
            self._foresee(job, outline, dial.connect_by)
            return
        begin = partial(self._foresee, job, outline, inf)
        job.place = Place(begin, outline.ends_s)
        if not line.join(job.place):
            self._foresee(job, _NO_CAPACITY, dial.connect_by)
            return
        self._fill(provider)
        if job.place.is_waiting:
            self._agenda.at(dial.commit_by, self._late, job)

    def end(self, job: Job) -> None:
        """Nothing more is wanted of an attempt, or nothing more will come."""
        if job.is_over:
            return
        job.is_over = True
        job.heard_at = inf
        job.provider.tally.live -= 1
        line = job.provider.supply.line
        if line is not None and job.place is not None:
            line.left(job.place)
            self._fill(job.provider)

    def look(self) -> None:
        """See what time alone has changed at the targets."""
        for provider in self._providers.values():
            self.note_state(provider)
            if provider.supply.line is not None:
                self._fill(provider)

    def note_state(self, provider: Provider) -> None:
        """Count a target's breaker as it is now, if it has changed."""
        now, tally, breaker = self._agenda.now, provider.tally, provider.health.breaker
        if now < breaker.plain_until and tally.state is _CLOSED:
            return  # as nearly always
        state = breaker.state(now)
        if state is not tally.state:
            self._tally.changed(tally, state, now)

    # What comes of an attempt

    def _foresee(self, job: Job, outline: Outline, connect_by: float) -> None:
        """Note what will come of an attempt, within its limits."""
        agenda = self._agenda
        now = agenda.now
        match outline:
            case Answers():
                at = now + outline.opens_s
                job.ends_at, job.ending = now + outline.ends_s, outline.breaks
                if at <= job.commit_by:
                    agenda.at(at, self._opened, job)
                    if not job.provider.onsets:
                        job.heard_at = at
                    return
            case Fails(failure, after_s):
                if now + after_s <= job.commit_by:
                    agenda.at(now + after_s, partial(self._failed, failure), job)
                    return
            case Hangs(is_connected=False):
                failed = partial(self._failed, _NOT_CONNECTED)
                agenda.at(connect_by, failed, job)
                return
            case Hangs():
                pass
        agenda.at(job.commit_by, self._late, job)

    def _opened(self, job: Job) -> None:
        if not job.is_over and not job.is_silent:
            job.is_open = True
            self._on_opened(job)
            self.note_state(job.provider)

    def _failed(self, failure: Failure, job: Job) -> None:
        if not job.is_silent:
            self._fail(job, failure)

    def _late(self, job: Job) -> None:
        if job.is_open:
            return  # who stood in line has two ends in the agenda
        cause = what_is_late(job.course.route.commit, is_stream=_is_stream(job))
        self._fail(job, Failure(FailureClass.TIMEOUT, cause))

    def _fail(self, job: Job, failure: Failure) -> None:
        if not job.is_over:
            self.end(job)
            job.provider.tally.failures[failure.kind] += 1
            self._on_failed(job, failure)
            self.note_state(job.provider)

    # Outages that begin while an attempt is under way

    def _note_onset(self, job: Job, outline: Outline, name: str) -> None:
        """Note the outage that will befall an attempt, if it can live to see it."""
        now = self._agenda.now
        until_s = job.commit_by
        if isinstance(outline, Answers):
            # Who stands in line opens late, and ends as much later.
            since = now if job.provider.supply.line is None else job.commit_by
            until_s = since + outline.ends_s
        onset = onset_of(job.provider.onsets, name, after_s=now, until_s=until_s)
        if onset is None:
            return
        if onset.under_way is UnderWay.RESET:
            has_head = isinstance(outline, Answers) and _is_stream(job)
            failure = _BROKEN if has_head else _RESET
            self._agenda.at(onset.at_s, partial(self._reset, failure), job)
        else:
            begins_at = self._begins_at(job, name)
            self._agenda.at(onset.at_s, partial(self._fall_silent, begins_at), job)

    def _begins_at(self, job: Job, name: str) -> float:
        """When something of an answer is here that has not yet committed."""
        course, now = job.course, self._agenda.now
        if course.opens_at_token == 1 or not _is_stream(job):
            return inf
        outline = job.provider.supply.outline(
            name, tokens=course.question.tokens, opens_at_token=1, now=now
        )
        return now + outline.opens_s if isinstance(outline, Answers) else inf

    def _reset(self, failure: Failure, job: Job) -> None:
        if job.is_over:
            return
        if job.is_open:
            self._break(job, _CUT, after_s=0.0)
        elif job.place is not None and job.place.is_waiting:
            self._fail(job, _RESET)
        else:
            self._fail(job, failure)

    def _fall_silent(self, begins_at: float, job: Job) -> None:
        if job.is_over:
            return
        job.is_silent = True
        now, idle_s = self._agenda.now, job.provider.target.timeouts.idle_s
        if job.is_open:
            self._break(job, _FELL_SILENT, after_s=idle_s)
            return
        self._agenda.at(job.commit_by, self._late, job)
        if begins_at <= now:
            self._agenda.at(now + idle_s, partial(self._fail, failure=_IDLE), job)

    def _break(self, job: Job, ending: Failure, *, after_s: float) -> None:
        job.ends_at, job.ending = self._agenda.now + after_s, ending
        self._on_broken(job)

    # Targets

    def _provider(self, target: Target) -> Provider:
        known = self._providers.get(target.id)
        if known is None:
            spec = self._world.targets.get(target.id, SimulatedTarget())
            supply = self._supplies.get(target.id) or DrawnSupply(spec)
            tally = self._tally.target(target.id)
            health = self._fleet.health(target, self._agenda.now)
            known = Provider(target, health, supply, tally, striking(spec.spells))
            self._providers[target.id] = known
        return known

    def _fill(self, provider: Provider) -> None:
        """Let those in line have the slots that are free."""
        line = provider.supply.line
        assert line is not None
        now = self._agenda.now
        while (place := line.next(now)) is not None:
            served = partial(self._served, provider)
            self._agenda.at(now + place.takes_s, served, place)
            if not place.is_left:
                place.begin()

    def _served(self, provider: Provider, place: Place) -> None:
        line = provider.supply.line
        assert line is not None
        line.served(place)
        self._fill(provider)


def _is_stream(job: Job) -> bool:
    return job.course.question.crowd.clients.is_stream
