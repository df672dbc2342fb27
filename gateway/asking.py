"""Asking, taking up again, cancelling: the same whatever carries the frames (WebSocket, server-sent events, JSON).

    ask     1 listen to the conversation's partition   so that no frame can come too early
            2 follow the answer
            3 produce the question                      not awaited: the first frame may be here before the receipt
    resume  the exact rest, else the finished turn, else a snapshot of what was said so far
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from dataclasses import dataclass, field

from gateway.metrics import ASKED
from gateway.open_answers import Follower, OpenAnswer, OpenAnswers, Send
from gateway.requests import AskBody, filters_of
from gateway.wire import Cursor, error_message, turn_messages
from gateway.withhold import SourceAccess
from gateway.workspaces import Workspaces
from schemas import keys, topics
from schemas.events import CancelAnswer, Person, QuestionAsked, Turn
from weir import telemetry
from weir.clock import Clock
from weir.errors import BadRequest, NotFound, Unavailable, WeirError
from weir.kafka.producer import Delivery, Producer
from weir.retrieval.recipe import Recipe
from weir.settings import Settings
from weir.views.turns import TurnViews

log = telemetry.logger(__name__)

JUST_FINISHED = 2.0
"""Seconds that a turn gets to arrive in its view once its last frame is on the log."""


@dataclass(slots=True)
class Following:
    """A client and the answer it follows."""

    answer: str
    conversation: str
    opened: OpenAnswer | None = None
    """None where the answer was told whole already."""
    follower: Follower | None = field(default=None)

    def stop(self) -> None:
        """The client is gone. The answer goes on."""
        if self.opened is not None and self.follower is not None:
            self.opened.followers.discard(self.follower)


class Asking:
    def __init__(self, settings: Settings, producer: Producer, open_answers: OpenAnswers, turns: TurnViews,
                 sources: SourceAccess, workspaces: Workspaces, clock: Clock) -> None:
        self._settings = settings
        self._producer = producer
        self._open = open_answers
        self._turns = turns
        self._sources = sources
        self._workspaces = workspaces
        self._clock = clock
        self._topic = topics.QUESTIONS.named(settings.prefix)

    async def ask(self, person: Person, body: AskBody, send: Send) -> Following:
        """Asks, or joins the answer that the same request asked for before.

        Raises:
            BadRequest: the question is too long, or a filter or a parameter is wrong.
            NotFound: the workspace is not open to this person.
            Overloaded: a limit is reached.
            Unavailable: Kafka does not answer.
        """
        if len(body.question) > self._settings.max_question_chars or not body.question.strip():
            raise BadRequest(f"a question has 1 to {self._settings.max_question_chars} characters")
        filters = filters_of(body.filters)
        Recipe().asked(body.recipe)
        self._workspaces.for_reader(person, body.workspace)
        request = body.request_id or secrets.token_hex(16)
        conversation = own_conversation(person.subject, body.conversation, request)
        answer = keys.answer_id(conversation, person.subject, request)
        with telemetry.span("ask", answer=answer, workspace=body.workspace), telemetry.bound(answer=answer):
            opened, fresh = await self._open.open(answer, conversation, person.subject, counted=True)
            if not fresh:
                return Following(answer, conversation, opened, self._open.follow(opened, send))
            following = Following(answer, conversation, opened, self._open.follow(opened, send))
            question = QuestionAsked(
                answer=answer, conversation=conversation, workspace=body.workspace, question=body.question,
                person=person, asked_at=self._clock(), follows=body.follows, search_only=body.search_only,
                limit=body.limit, explain=body.explain, filters=filters, recipe=body.recipe, without=body.without,
                anew=body.anew)
            opened.asked = time.monotonic()
            try:
                posted = self._producer.post(self._topic, conversation, question)
            except WeirError:
                self._open.end(opened)
                raise
            posted.add_done_callback(lambda done: self._posted(opened, done))
            self._open.watch(opened, lambda o: self._look_for(person, o))
            ASKED.inc()
            log.info("asked", workspace=body.workspace, search_only=body.search_only)
        return following

    def _posted(self, opened: OpenAnswer, done: asyncio.Future[Delivery]) -> None:
        error = None if done.cancelled() else done.exception()
        if error is not None and not opened.records:
            told = error if isinstance(error, WeirError) else Unavailable("the question could not be written down")
            self._open.end(opened, error_message(told, answer=opened.answer, conversation=opened.conversation))

    async def _look_for(self, person: Person, opened: OpenAnswer) -> None:
        """The answer may have been finished before this gateway listened."""
        turn = await self._turns.get(opened.answer)
        if turn is not None and turn.person.subject == person.subject:
            shown = await self._sources.turn(person, turn)
            self._open.end(opened, *turn_messages(shown, opened.partition))

    async def resume(self, person: Person, answer: str, conversation: str, cursor: Cursor | None,
                     send: Send) -> Following:
        """Tells a client what it missed of an answer and what follows.

        Raises:
            NotFound: this person asked no such question, or long ago and it never ended.
            Unavailable: Kafka or the views do not answer.
        """
        if own_conversation(person.subject, conversation, "") != conversation:
            raise NotFound("there is no such answer of yours")
        opened, _ = await self._open.open(answer, conversation, person.subject, counted=False)
        if cursor is not None and (follower := await self._open.resume(opened, cursor, send)) is not None:
            return Following(answer, conversation, opened, follower)
        turn = await self._turns.get(answer)
        if turn is None and await self._open.recall(opened):
            if opened.finished and (turn := await self._turns.wait(answer, JUST_FINISHED)) is None:
                await self._check(person, opened)
            if turn is None:
                return Following(answer, conversation, opened, self._open.anew(opened, send))
        if turn is None or turn.person.subject != person.subject:
            if not opened.records:
                self._open.end(opened)
            raise NotFound("nothing is known of this answer: ask again")
        for message in turn_messages(await self._sources.turn(person, turn), opened.partition):
            send(message)
        if not opened.records:
            self._open.end(opened)
        return Following(answer, conversation)

    async def _check(self, person: Person, opened: OpenAnswer) -> None:
        """Before a finished answer is told from the log alone: that its sources are still open to the person."""
        documents = {s.document for s in opened.state.sources}
        workspace = opened.state.accepted.workspace if opened.state.accepted else ""
        if await self._sources.allowed(person, workspace, documents) != documents:
            raise Unavailable("the answer is finished and on its way to your history: look there in a moment",
                              retry_after=2)

    async def cancel(self, person: Person, answer: str, conversation: str) -> None:
        """Asks for an answer to stop. It ends with an ordinary last frame, for everybody who follows it.

        Raises:
            NotFound: the conversation is not this person's.
            Unavailable: Kafka does not answer.
        """
        if own_conversation(person.subject, conversation, "") != conversation:
            raise NotFound("there is no such answer of yours")
        event = CancelAnswer(answer=answer, conversation=conversation, subject=person.subject, at=self._clock())
        await self._producer.send(self._topic, conversation, event)

    async def turn(self, person: Person, turn: str) -> Turn:
        """Raises: NotFound: this person has no such turn."""
        found = await self._turns.get(turn)
        if found is None or found.person.subject != person.subject:
            raise NotFound("you have no such turn")
        return await self._sources.turn(person, found)


def own_conversation(subject: str, given: str | None, request: str) -> str:
    """The person's conversation that `given` names.

    A conversation's id begins with a mark of its person, so that every gateway knows whose it is without asking
    anybody. One that this person already has stays as it is; any other name, somebody else's id too, names a
    conversation of this person's own. Without a name the request names it, so that a repeated request finds the same.
    """
    mark = hashlib.sha256(f"person\0{subject}".encode()).hexdigest()[:16]
    if given is not None and len(given) == 49 and given.startswith(mark + "-"):
        return given
    named = "\0".join([subject, *(("request", request) if given is None else ("name", given))])
    return f"{mark}-{hashlib.sha256(named.encode()).hexdigest()[:32]}"
