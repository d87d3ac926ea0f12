"""Administration of a gateway, for asyncio. ``meshwire.sync`` has the same."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

from ._arguments import numbers as listed
from ._native import Client
from ._records import DeadLetter, Group, LimitsInForce, Redriven, Topic, arguments, page, record
from ._waiting import call

if TYPE_CHECKING:
    from typing_extensions import Unpack

_Record = TypeVar("_Record")


class TopicSettings(TypedDict, total=False):
    """Settings of a topic: how durable it is (``memory``, ``written``, ``synced``), how long and how much of it is kept, and what becomes
    of groups that lag (``drop``, ``block``)."""

    durability: str | None
    retention: float | timedelta | None
    retention_bytes: int | None
    lagging: str | None


class GroupSettings(TypedDict, total=False):
    """Settings of a group, as of ``subscribe``."""

    ack_wait: float | timedelta | None
    max_failures: int | None
    max_age: float | timedelta | None
    backoff_min: float | timedelta | None
    backoff_max: float | timedelta | None
    hold_after_dead_letter: bool | None
    strict_order: bool | None
    max_in_flight: int | None
    max_rate: int | None


class LimitSettings(TypedDict, total=False):
    """Limits that can be set; 0: none."""

    publish_rate: int | None
    publish_bytes_rate: int | None
    publish_budget_bytes: int | None
    deliver_rate: int | None
    deliver_bytes_rate: int | None


class _Admin:
    """A client that is asked, in the loop that it belongs to."""

    def __init__(self, client: Callable[[str], Client]) -> None:
        self._client = client

    async def _ask(self, command: str, said: dict[str, Any]) -> str:
        client = self._client(command.partition(".")[0])
        answer: str = await call(client.administer(command, json.dumps(said)))
        return answer

    async def _pages(self, kind: type[_Record], command: str, said: dict[str, Any]) -> AsyncIterator[_Record]:
        while True:
            items, cursor = page(kind, await self._ask(command, said))
            for item in items:
                yield item
            if cursor is None:
                return
            said = {**said, "cursor": cursor}


class Topics(_Admin):
    """Topics of the gateway."""

    def list(self) -> AsyncIterator[Topic]:
        """All of them, by ``async for``."""
        return self._pages(Topic, "topics.list", {})

    async def get(self, topic: str, /) -> Topic:
        """One of them."""
        return record(Topic, json.loads(await self._ask("topics.get", arguments(topic=topic))))

    async def create(self, topic: str, /, **settings: Unpack[TopicSettings]) -> Topic:
        """Makes one; that it is there already with these settings is no error."""
        return record(Topic, json.loads(await self._ask("topics.create", arguments(topic=topic, **settings))))

    async def update(self, topic: str, /, **settings: Unpack[TopicSettings]) -> Topic:
        """Changes what is said."""
        return record(Topic, json.loads(await self._ask("topics.update", arguments(topic=topic, **settings))))

    async def delete(self, topic: str, /, *, force: bool = False) -> Topic:
        """Deletes one, and what it holds; with ``force`` also one with subscriptions."""
        said = arguments(topic=topic, force=force or None)
        return record(Topic, json.loads(await self._ask("topics.delete", said)))


class Groups(_Admin):
    """Groups of a topic."""

    def __init__(self, client: Callable[[str], Client], topic: str) -> None:
        super().__init__(client)
        self._topic = topic

    def list(self) -> AsyncIterator[Group]:
        """All of them, by ``async for``."""
        return self._pages(Group, "groups.list", {"topic": self._topic})

    async def _one(self, command: str, group: str, **said: Any) -> Group:
        said = arguments(topic=self._topic, group=group, **said)
        return record(Group, json.loads(await self._ask(command, said)))

    async def get(self, group: str, /, *, member: str | None = None) -> Group:
        """One of them, or a durable member of it."""
        return await self._one("groups.get", group, member=member)

    async def create(
        self,
        group: str,
        /,
        *,
        member: str | None = None,
        mode: str | None = None,
        start: str | int | datetime | None = None,
        **settings: Unpack[GroupSettings],
    ) -> Group:
        """Makes one, which begins at ``start``."""
        return await self._one("groups.create", group, member=member, mode=mode, start=start, **settings)

    async def update(self, group: str, /, **settings: Unpack[GroupSettings]) -> Group:
        """Changes what is said."""
        return await self._one("groups.update", group, **settings)

    async def seek(self, group: str, to: str | int | datetime, /, *, member: str | None = None) -> Group:
        """Moves one to ``earliest``, ``latest``, a position or a time."""
        return await self._one("groups.seek", group, to=to, member=member)

    async def delete(self, group: str, /) -> Group:
        """Deletes one, and where it stands."""
        return await self._one("groups.delete", group)

    async def delete_member(self, group: str, member: str, /) -> None:
        """Deletes a durable member."""
        await self._ask("groups.delete_member", arguments(topic=self._topic, group=group, member=member))


class DeadLetters(_Admin):
    """Events of a topic that its groups have given up."""

    def __init__(self, client: Callable[[str], Client], topic: str, group: str | None, member: str | None) -> None:
        super().__init__(client)
        self._of = arguments(topic=topic, group=group, member=member)

    def list(self, *, events: bool = False) -> AsyncIterator[DeadLetter]:
        """All of them, by ``async for``; with their events if they are wanted."""
        return self._pages(DeadLetter, "dead_letters.list", {**self._of, **arguments(events=events or None)})

    async def get(self, number: int, /) -> DeadLetter:
        """One of them, with its event."""
        return record(DeadLetter, json.loads(await self._ask("dead_letters.get", {**self._of, **arguments(number=number)})))

    async def redrive(self, numbers: Iterable[int], /) -> Redriven:
        """Gives these back to their groups."""
        return await self._redrive({"numbers": listed(numbers)})

    async def redrive_all(self) -> Redriven:
        """Gives all of them back."""
        return await self._redrive({"all": True})

    async def purge(self, numbers: Iterable[int], /) -> int:
        """Removes these for good; how many there were."""
        return await self._purge({"numbers": listed(numbers)})

    async def purge_all(self) -> int:
        """Removes all of them for good; how many there were."""
        return await self._purge({"all": True})

    async def _redrive(self, which: dict[str, Any]) -> Redriven:
        return record(Redriven, json.loads(await self._ask("dead_letters.redrive", {**self._of, **which})))

    async def _purge(self, which: dict[str, Any]) -> int:
        purged: int = json.loads(await self._ask("dead_letters.purge", {**self._of, **which}))["purged"]
        return purged


class Limits(_Admin):
    """Limits of the whole gateway."""

    async def get(self) -> LimitsInForce:
        """Those in force."""
        return record(LimitsInForce, json.loads(await self._ask("limits.get", {})))

    async def set(self, **limits: Unpack[LimitSettings]) -> LimitsInForce:
        """Sets what is said, until the gateway ends."""
        return record(LimitsInForce, json.loads(await self._ask("limits.set", arguments(**limits))))
