"""The second driver: the production engine and fleet, under virtual time.

It holds a heap of future events and does what is due next, in a plain loop: no tasks,
no sockets, no waiting. What a target or a client does is drawn from dice that carry
their names, so that the same seed gives the same run in every process, and a policy
that asks one target more does not change another's luck.

          clients come, ask again, leave; answers open, end, fail; alarms
                                     |
                                     v
              heap: (when, in which order, what to do, with what)
                                     |
                                     v
               engine.start, engine.advance ---> commands ---> heap

Time begins at 0. After `duration_s` nobody comes any more, and the run is over when the
last exchange is.
"""

from collections.abc import Callable, Mapping
from functools import partial
from heapq import heappop, heappush
from math import ceil, inf
from random import Random
from typing import Final

from trio_gateway.chaos.crowd import Crowd, Question
from trio_gateway.chaos.line import Place
from trio_gateway.chaos.outline import Answers, Fails, Hangs, Outline
from trio_gateway.chaos.supply import DrawnSupply, Supply, opens_at_token
from trio_gateway.chaos.tally import Result, Tally, TargetTally
from trio_gateway.chaos.world import SimulatedTarget, World
from trio_gateway.failover.commands import (
    Command,
    Commit,
    Dial,
    Drop,
    RefusalKind,
    Refuse,
    WakeAt,
)
from trio_gateway.failover.engine import Engine
from trio_gateway.failover.events import (
    AnswerEnded,
    AttemptFailed,
    Called,
    ClientLeft,
    Event,
    Opened,
    TimeCame,
)
from trio_gateway.failover.failures import Failure, FailureClass
from trio_gateway.failover.fleet import Fleet
from trio_gateway.failover.limiter import LagShedder
from trio_gateway.policy.route import Route, Target
from trio_gateway.relay.record import Outcome

# What changes by time alone, as a breaker's state and a target's slots, is looked at
# so often.
_TICK_S: Final = 1.0

_NO_CAPACITY: Final = Fails(Failure(FailureClass.OVERLOADED, "no capacity", 503), 0.02)
_NOT_CONNECTED: Final = Failure(FailureClass.CONNECT, "not connected in time")
_DEADLINE: Final = Failure(FailureClass.INTERRUPTED, "total deadline")

_Entry = tuple[float, int, Callable[..., None], tuple[object, ...]]


class _Job:
    """One attempt under way."""

    __slots__ = (
        "commit_by",
        "course",
        "ending",
        "ends_at",
        "is_open",
        "is_over",
        "number",
        "place",
        "provider",
    )

    def __init__(self, course: "_Course", dial: Dial, provider: "_Provider") -> None:
        self.course = course
        self.number = dial.attempt
        self.commit_by = dial.commit_by
        self.provider = provider
        self.is_open = False
        self.is_over = False
        self.ends_at = inf
        self.ending: Failure | None = None
        self.place: Place | None = None


class _Course:
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

    def __init__(self, question: Question, route: Route, now: float) -> None:
        self.question = question
        self.route = route
        self.ticket = f"{question.name}/{question.tries}"
        self.started_at = now
        self.jobs: list[_Job] = []
        self.alarm_at = inf
        is_stream = question.crowd.clients.is_stream
        self.opens_at_token = opens_at_token(route.commit, is_stream=is_stream)
        self.engine: Engine


class _Provider:
    """One target as the simulator has it."""

    __slots__ = ("supply", "tally", "target")

    def __init__(self, target: Target, supply: Supply, tally: TargetTally) -> None:
        self.target = target
        self.supply = supply
        self.tally = tally


class Simulator:
    """One run of one world.

    Args:
        world: what there is.
        seed: of all dice.
        engine: what decides; give `WatchedEngine` to have every exchange held to the
            invariants.
        supplies: in place of what the world says of a target, by its id.
        on_over: is shown each exchange's engine when it is over, with the outcome.
    """

    def __init__(
        self,
        world: World,
        *,
        seed: str = "0",
        engine: type[Engine] = Engine,
        supplies: Mapping[str, Supply] | None = None,
        on_over: Callable[[Engine, Outcome], None] | None = None,
    ) -> None:
        self.now = 0.0
        self.fleet = Fleet(Random(f"{seed}/fleet"))
        self.tally = Tally(seed, world.duration_s)
        self._world = world
        self._seed = seed
        self._engine = engine
        self._supplies = supplies or {}
        self._on_over = on_over
        self._routes = {route.slug: route for route in world.routes}
        self._heap: list[_Entry] = []
        self._entries = 0
        self._in_flight_max = world.max_in_flight or inf
        self._in_flight = 0
        self._open: dict[object, _Course] = {}  # before their commit point
        self._courses: dict[Question, _Course] = {}  # which a person may walk away from
        self._providers: dict[str, _Provider] = {}
        for route in world.routes:
            self.tally.route(route.slug)
            for target in (*route.targets, *route.context_chain):
                self._provider(target)

    def run(self) -> Result:
        """Run to the end."""
        for number, clients in enumerate(self._world.clients):
            crowd = Crowd(clients, f"{self._seed}/{number}")
            self._await_next(crowd, crowd.first_at())
        self._at(0.0, self._tick)
        heap, calls = self._heap, self.fleet.calls
        while heap:
            self.now, _, act, args = heappop(heap)
            act(*args)
            if calls:
                self._deliver_calls()
        assert not self._open, "every exchange ends"
        return self.tally.result()

    # The heap

    def _at(self, when: float, act: Callable[..., None], *args: object) -> None:
        self._entries += 1
        heappush(self._heap, (when, self._entries, act, args))

    def _tick(self) -> None:
        now = self.now
        for provider in self._providers.values():
            self._note_state(provider)
            if provider.supply.line is not None:
                self._fill(provider)
        if now < self._world.duration_s or self._open:
            self._at(now + _TICK_S, self._tick)

    def _note_state(self, provider: _Provider) -> None:
        state = self.fleet.health(provider.target, self.now).breaker.state(self.now)
        if state is not provider.tally.state:
            self.tally.changed(provider.tally, state, self.now)

    # Clients

    def _await_next(self, crowd: Crowd, when: float) -> None:
        if when < self._world.duration_s:
            self._at(when, self._arrive, crowd)

    def _arrive(self, crowd: Crowd) -> None:
        now = self.now
        question = crowd.question(now)
        patience_s = crowd.patience_s()
        if patience_s < inf:
            self._at(now + patience_s, self._walk_away, question)
        self.tally.asked(crowd.clients.slug, now)
        self._ask(question)
        self._await_next(crowd, crowd.next_at(now))

    def _ask(self, question: Question) -> None:
        """Begin an exchange, the question's first or a further one."""
        if question.is_over:
            return
        question.tries += 1
        clients = question.crowd.clients
        route = self._routes[clients.slug]
        course = _Course(question, route, self.now)
        if self._in_flight >= self._in_flight_max:
            self._turn_away(course)
            return
        self._in_flight += 1
        if clients.patience is not None:
            self._courses[question] = course
        course.engine = self._engine(
            route,
            self.fleet,
            question.crowd.first if question.tries == 1 else question.crowd.again,
            ticket=course.ticket,
            random_for=partial(_dice, course.ticket),
        )
        self._open[course.ticket] = course
        if clients.library is not None:
            by = self.now + clients.library.timeout_s
            self._at(by, self._time_out, course)
        self._perform(course, course.engine.start(self.now))

    def _turn_away(self, course: _Course) -> None:
        """Refuse at the door: the gateway has as many inside as it may."""
        draw = _dice(course.ticket, "door").random()
        after_s = ceil(LagShedder(self.now).retry_after_s(draw))
        kind = RefusalKind.UNAVAILABLE
        self.tally.refused(course.route.slug, kind)
        refuse = Refuse(kind, retry_after_s=after_s, is_retry_welcome=True)
        self._ask_again(course, refuse)

    def _walk_away(self, question: Question) -> None:
        """A person has waited long enough, whatever has come so far."""
        if question.is_over:
            return
        course = self._courses.pop(question, None)
        if course is not None:
            self._leave(course)
        question.is_over = True
        self.tally.left(question.crowd.clients.slug)

    def _time_out(self, course: _Course) -> None:
        """A library has waited long enough for a first byte."""
        if course.ticket in self._open:
            self._leave(course)
            self._ask_again(course, None)

    def _leave(self, course: _Course) -> None:
        for job in course.jobs:
            self._end_job(job)
        course.engine.advance(ClientLeft(), self.now)
        self._over(course, Outcome.CANCELLED)

    def _ask_again(self, course: _Course, refuse: Refuse | None) -> None:
        question = course.question
        after_s = question.crowd.asks_again_s(question, refuse)
        if after_s is None:
            question.is_over = True
            self.tally.failed(course.route.slug, self.now)
        else:
            self._at(self.now + after_s, self._ask, question)

    # Events for the engine

    def _advance(self, course: _Course, event: Event) -> None:
        self._perform(course, course.engine.advance(event, self.now))

    def _deliver_calls(self) -> None:
        calls = self.fleet.calls
        while calls:
            course = self._open.get(calls.popleft())
            if course is not None:
                self._advance(course, Called())

    def _ring(self, course: _Course, at: float) -> None:
        if course.alarm_at == at:
            course.alarm_at = inf
            jobs = course.jobs
            self._advance(course, TimeCame())
            if jobs:
                self._note_state(jobs[-1].provider)

    def _opened(self, job: _Job) -> None:
        if not job.is_over:
            job.is_open = True
            self._advance(job.course, Opened(job.number))
            self._note_state(job.provider)

    def _failed(self, job: _Job, failure: Failure) -> None:
        if not job.is_over:
            self._end_job(job)
            job.provider.tally.failures[failure.kind] += 1
            self._advance(job.course, AttemptFailed(job.number, failure))
            self._note_state(job.provider)

    def _late(self, job: _Job) -> None:
        if job.is_open:
            return  # who stood in line has two ends on the heap
        is_stream = job.course.question.crowd.clients.is_stream
        cause = "first token late" if is_stream else "answer late"
        self._failed(job, Failure(FailureClass.TIMEOUT, cause))

    def _answered(self, job: _Job) -> None:
        """The winner's answer has ended, well or not."""
        if job.is_over:
            return
        course, ending = job.course, job.ending
        self._end_job(job)
        course.engine.advance(AnswerEnded(job.number, ending), self.now)
        question = course.question
        question.is_over = True
        if ending is None:
            self._over(course, Outcome.COMPLETED)
            self.tally.answered(course.route.slug, self.now)
        else:
            job.provider.tally.failures[ending.kind] += 1
            self._note_state(job.provider)
            self._over(course, Outcome.INTERRUPTED)
            self.tally.failed(course.route.slug, self.now)

    # Commands

    def _perform(self, course: _Course, commands: tuple[Command, ...]) -> None:
        alarm_at = inf
        for command in commands:
            match command:
                case Dial():
                    self._dial(course, command)
                case WakeAt(at):
                    alarm_at = max(at, self.now)  # what is overdue rings now
                case Drop(number):
                    self._end_job(course.jobs[number - 1])
                case Commit(number):
                    self._commit(course, course.jobs[number - 1])
                case Refuse():
                    self.tally.refused(course.route.slug, command.kind)
                    self._over(course, Outcome.REFUSED)
                    self._ask_again(course, command)
                    return
        if alarm_at != course.alarm_at:
            course.alarm_at = alarm_at
            if alarm_at < inf:
                self._at(alarm_at, self._ring, course, alarm_at)

    def _dial(self, course: _Course, dial: Dial) -> None:
        now, provider = self.now, self._provider(dial.target)
        self.tally.dialled(provider.tally, now, is_first=dial.attempt == 1)
        job = _Job(course, dial, provider)
        # The dice are named as a target could: it sees its own requests only.
        turn = sum(other.provider is provider for other in course.jobs) + 1
        course.jobs.append(job)
        outline = provider.supply.outline(
            f"{course.ticket}/{dial.target.id}/{turn}",
            tokens=course.question.tokens,
            opens_at_token=course.opens_at_token,
            now=now,
        )
        self._note_state(provider)
        line = provider.supply.line
        if line is None or not isinstance(outline, Answers):
            self._foresee(job, outline, connect_by=dial.connect_by)
            return
        begin = partial(self._foresee, job, outline, connect_by=inf)
        job.place = Place(begin, outline.ends_s)
        if not line.join(job.place):
            self._foresee(job, _NO_CAPACITY, connect_by=dial.connect_by)
            return
        self._fill(provider)
        if job.place.is_waiting:
            self._at(dial.commit_by, self._late, job)

    def _foresee(self, job: _Job, outline: Outline, *, connect_by: float) -> None:
        """Put what will come of an attempt on the heap, within its limits."""
        now = self.now
        match outline:
            case Answers(opens_s, ends_s, breaks):
                at = now + opens_s
                job.ends_at, job.ending = now + ends_s, breaks
                if at <= job.commit_by:
                    self._at(at, self._opened, job)
                    return
            case Fails(failure, after_s):
                if now + after_s <= job.commit_by:
                    self._at(now + after_s, self._failed, job, failure)
                    return
            case Hangs(is_connected=False):
                self._at(connect_by, self._failed, job, _NOT_CONNECTED)
                return
            case Hangs():
                pass
        self._at(job.commit_by, self._late, job)

    def _commit(self, course: _Course, job: _Job) -> None:
        self._open.pop(course.ticket, None)
        total_by = course.engine.deadlines.total_by
        if job.ends_at > total_by:
            job.ends_at, job.ending = total_by, _DEADLINE
        self._at(job.ends_at, self._answered, job)
        self.tally.opened(
            course.route.slug,
            first_token_s=self.now - course.started_at,
            wait_s=self.now - course.question.asked_at,
        )

    def _end_job(self, job: _Job) -> None:
        """Nothing more is wanted of an attempt, or nothing more will come."""
        if job.is_over:
            return
        job.is_over = True
        job.provider.tally.live -= 1
        line = job.provider.supply.line
        if line is not None and job.place is not None:
            line.left(job.place)
            self._fill(job.provider)

    def _over(self, course: _Course, outcome: Outcome) -> None:
        self._in_flight -= 1
        self._open.pop(course.ticket, None)
        course.alarm_at = inf
        self._courses.pop(course.question, None)
        engine = course.engine
        self.tally.over(
            course.route.slug,
            course.ticket,
            course.started_at,
            self.now,
            engine,
            outcome,
        )
        if self._on_over is not None:
            self._on_over(engine, outcome)

    # Targets

    def _provider(self, target: Target) -> _Provider:
        known = self._providers.get(target.id)
        if known is None:
            supply = self._supplies.get(target.id)
            if supply is None:
                spec = self._world.targets.get(target.id, SimulatedTarget())
                supply = DrawnSupply(spec)
            tally = self.tally.target(target.id)
            known = self._providers[target.id] = _Provider(target, supply, tally)
        return known

    def _fill(self, provider: _Provider) -> None:
        """Let those in line have the slots that are free."""
        line = provider.supply.line
        assert line is not None
        while (place := line.next(self.now)) is not None:
            self._at(self.now + place.takes_s, self._served, provider, place)
            if not place.is_left:
                place.begin()

    def _served(self, provider: _Provider, place: Place) -> None:
        line = provider.supply.line
        assert line is not None
        line.served(place)
        self._fill(provider)


def _dice(ticket: str, actor: str) -> Random:
    return Random(f"{ticket}/{actor}")
