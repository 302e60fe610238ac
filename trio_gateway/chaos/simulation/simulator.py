"""The second driver: the production engine and fleet, under virtual time.

It does what is due next in an agenda of future events, in a plain loop: no tasks, no
sockets, no waiting. What a target or a client does is drawn from dice that carry
their names, so that the same seed gives the same run in every process, and a policy
that asks one target more does not change another's luck.

          clients come, ask again, leave; answers open, end, fail; alarms
                                     |
                                     v
             agenda: (when, in which order, what to do, with what)
                                     |
                                     v
               engine.start, engine.advance ---> commands ---> agenda

Time begins at 0. After `duration_s` nobody comes any more, and the run is over when the
last exchange is.
"""

from collections.abc import Callable, Mapping
from functools import partial
from math import ceil, inf
from random import Random
from typing import Final

from trio_gateway.chaos.simulation.agenda import Agenda
from trio_gateway.chaos.simulation.crowd import Crowd, Question
from trio_gateway.chaos.simulation.dials import Course, Dials, Job
from trio_gateway.chaos.simulation.tally import Result, Tally
from trio_gateway.chaos.worlds.supply import Supply
from trio_gateway.chaos.worlds.world import World
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
from trio_gateway.failover.shedding import retry_after_s
from trio_gateway.relay.record import Outcome

# What changes by time alone, as a breaker's state and a target's slots, is looked at
# so often.
_TICK_S: Final = 1.0

_COMPLETED: Final = Outcome.COMPLETED  # found more quickly, in Python 3.11

_DEADLINE: Final = Failure(FailureClass.INTERRUPTED, "total deadline")


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
        self.agenda = Agenda()
        self.fleet = Fleet(Random(f"{seed}/fleet"))
        self.tally = Tally(seed, world.duration_s)
        self._world = world
        self._seed = seed
        self._engine = engine
        self._on_over = on_over
        self._routes = {route.slug: route for route in world.routes}
        self._in_flight_max = world.max_in_flight or inf
        self._in_flight = 0
        self._open: dict[object, Course] = {}  # before their commit point
        self._courses: dict[Question, Course] = {}  # which a person may walk away from
        for slug in self._routes:
            self.tally.route(slug)
        self._dials = Dials(
            world,
            self.agenda,
            self.fleet,
            self.tally,
            supplies=supplies or {},
            on_opened=self._opened,
            on_failed=self._failed,
            on_broken=self._await_end,
        )

    @property
    def now(self) -> float:
        """The virtual time."""
        return self.agenda.now

    def run(self) -> Result:
        """Run to the end."""
        for number, clients in enumerate(self._world.clients):
            crowd = Crowd(clients, f"{self._seed}/{number}")
            self._await_next(crowd, crowd.first_at())
        self.agenda.at(0.0, self._tick, self._dials)
        agenda, calls = self.agenda, self.fleet.calls
        while agenda.do_next():
            if calls:
                self._deliver_calls()
        assert not self._open, "every exchange ends"
        return self.tally.result()

    def _tick(self, dials: Dials) -> None:
        dials.look()
        if self.now < self._world.duration_s or self._open:
            self.agenda.at(self.now + _TICK_S, self._tick, dials)

    # Clients

    def _await_next(self, crowd: Crowd, when: float) -> None:
        if when < self._world.duration_s:
            self.agenda.at(when, self._arrive, crowd)

    def _arrive(self, crowd: Crowd) -> None:
        now = self.agenda.now
        question = crowd.question(now)
        if crowd.clients.patience is not None:
            leaves_at = now + crowd.patience_s()
            self.agenda.at(leaves_at, self._walk_away, question)
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
        now = self.agenda.now
        course = Course(question, route, now)
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
            by = now + clients.library.timeout_s
            self.agenda.at(by, self._time_out, course)
        self._perform(course, course.engine.start(now))

    def _turn_away(self, course: Course) -> None:
        """Refuse at the door: the gateway has as many inside as it may."""
        draw = _dice(course.ticket, "door").random()
        after_s = ceil(retry_after_s(draw))
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

    def _time_out(self, course: Course) -> None:
        """A library has waited long enough for a first byte."""
        if course.ticket in self._open:
            self._leave(course)
            self._ask_again(course, None)

    def _leave(self, course: Course) -> None:
        for job in course.jobs:
            self._dials.end(job)
        course.engine.advance(ClientLeft(), self.now)
        self._over(course, Outcome.CANCELLED)

    def _ask_again(self, course: Course, refuse: Refuse | None) -> None:
        question = course.question
        after_s = question.crowd.asks_again_s(question, refuse)
        if after_s is None:
            question.is_over = True
            self.tally.failed(course.route.slug, self.now)
        else:
            self.agenda.at(self.now + after_s, self._ask, question)

    # Events for the engine

    def _advance(self, course: Course, event: Event) -> None:
        self._perform(course, course.engine.advance(event, self.agenda.now))

    def _deliver_calls(self) -> None:
        calls = self.fleet.calls
        while calls:
            course = self._open.get(calls.popleft())
            if course is not None:
                self._advance(course, Called())

    def _ring(self, course: Course) -> None:
        if course.alarm_at == self.agenda.now:
            course.alarm_at = inf
            jobs = course.jobs
            self._advance(course, TimeCame())
            if jobs:
                self._dials.note_state(jobs[-1].provider)

    def _opened(self, job: Job) -> None:
        self._advance(job.course, Opened(job.number))

    def _failed(self, job: Job, failure: Failure) -> None:
        self._advance(job.course, AttemptFailed(job.number, failure))

    def _answered(self, job: Job) -> None:
        """The winner's answer has ended, well or not."""
        now = self.agenda.now
        if job.is_over or now < job.ends_at:
            return  # or it fell silent since, and ends later
        course, ending = job.course, job.ending
        self._dials.end(job)
        course.engine.advance(AnswerEnded(job.number, ending), now)
        question = course.question
        question.is_over = True
        if ending is None:
            self._over(course, _COMPLETED)
            self.tally.answered(course.route.slug, now)
        else:
            job.provider.tally.failures[ending.kind] += 1
            self._dials.note_state(job.provider)
            self._over(course, Outcome.INTERRUPTED)
            self.tally.failed(course.route.slug, now)

    # Commands

    def _perform(self, course: Course, commands: tuple[Command, ...]) -> None:
        alarm_at = inf
        for command in commands:
            match command:
                case Dial():
                    self._dials.begin(course, command)
                case WakeAt():
                    alarm_at = command.at
                    if alarm_at < self.agenda.now:
                        alarm_at = self.agenda.now  # what is overdue rings now
                case Commit():
                    self._commit(course, course.jobs[command.attempt - 1])
                case Drop(number):
                    self._dials.end(course.jobs[number - 1])
                case Refuse():
                    self.tally.refused(course.route.slug, command.kind)
                    self._over(course, Outcome.REFUSED)
                    self._ask_again(course, command)
                    return
        jobs = course.jobs
        if jobs and jobs[-1].heard_at <= alarm_at:
            alarm_at = inf  # it would never ring: what is heard first says when anew
        if alarm_at != course.alarm_at:
            course.alarm_at = alarm_at
            if alarm_at < inf:
                self.agenda.at(alarm_at, self._ring, course)

    def _commit(self, course: Course, job: Job) -> None:
        self._open.pop(course.ticket, None)
        self._await_end(job)
        now = self.agenda.now
        self.tally.opened(
            course.route.slug,
            first_token_s=now - course.started_at,
            wait_s=now - course.question.asked_at,
        )

    def _await_end(self, job: Job) -> None:
        total_by = job.course.engine.deadlines.total_by
        if job.ends_at > total_by:
            job.ends_at, job.ending = total_by, _DEADLINE
        self.agenda.at(job.ends_at, self._answered, job)

    def _over(self, course: Course, outcome: Outcome) -> None:
        self._in_flight -= 1
        self._open.pop(course.ticket, None)
        course.alarm_at = inf
        course.jobs = []  # else they and it would hold each other
        if self._courses:
            self._courses.pop(course.question, None)
        engine = course.engine
        self.tally.over(
            course.route.slug,
            course.ticket,
            course.started_at,
            self.agenda.now,
            engine,
            outcome,
        )
        if self._on_over is not None:
            self._on_over(engine, outcome)


def _dice(ticket: str, actor: str) -> Random:
    return Random(f"{ticket}/{actor}")
