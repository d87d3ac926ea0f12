"""Administration of a gateway, without asyncio."""

from __future__ import annotations

import json
from collections.abc import Iterator, Callable, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from .._arguments import numbers as listed
from .._native import Client
from .._records import DeadLetter, Group, LimitsInForce, Redriven, Topic, arguments, page, record

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .._admin import GroupSettings, LimitSettings, TopicSettings

_Record = TypeVar("_Record")


class _Admin:
    """A client that is asked."""

    def __init__(self, client: Callable[[str], Client]) -> None:
        self._client = client

    def _ask(self, command: str, said: dict[str, Any]) -> str:
        client = self._client(command.partition(".")[0])
        answer: str = client.administer(command, json.dumps(said))
        return answer

    def _pages(self, kind: type[_Record], command: str, said: dict[str, Any]) -> Iterator[_Record]:
        while True:
            items, cursor = page(kind, self._ask(command, said))
            for item in items:
                yield item
            if cursor is None:
                return
            said = {**said, "cursor": cursor}


class Topics(_Admin):
    """Topics of the gateway."""

    def list(self) -> Iterator[Topic]:
        """All of them, by ``for``."""
        return self._pages(Topic, "topics.list", {})

    def get(self, topic: str, /) -> Topic:
        """One of them."""
        return record(Topic, json.loads(self._ask("topics.get", arguments(topic=topic))))

    def create(self, topic: str, /, **settings: Unpack[TopicSettings]) -> Topic:
        """Makes one; that it is there already with these settings is no error."""
        return record(Topic, json.loads(self._ask("topics.create", arguments(topic=topic, **settings))))

    def update(self, topic: str, /, **settings: Unpack[TopicSettings]) -> Topic:
        """Changes what is said."""
        return record(Topic, json.loads(self._ask("topics.update", arguments(topic=topic, **settings))))

    def delete(self, topic: str, /, *, force: bool = False) -> Topic:
        """Deletes one, and what it holds; with ``force`` also one with subscriptions."""
        said = arguments(topic=topic, force=force or None)
        return record(Topic, json.loads(self._ask("topics.delete", said)))


class Groups(_Admin):
    """Groups of a topic."""

    def __init__(self, client: Callable[[str], Client], topic: str) -> None:
        super().__init__(client)
        self._topic = topic

    def list(self) -> Iterator[Group]:
        """All of them, by ``for``."""
        return self._pages(Group, "groups.list", {"topic": self._topic})

    def _one(self, command: str, group: str, **said: Any) -> Group:
        said = arguments(topic=self._topic, group=group, **said)
        return record(Group, json.loads(self._ask(command, said)))

    def get(self, group: str, /, *, member: str | None = None) -> Group:
        """One of them, or a durable member of it."""
        return self._one("groups.get", group, member=member)

    def create(
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
        return self._one("groups.create", group, member=member, mode=mode, start=start, **settings)

    def update(self, group: str, /, **settings: Unpack[GroupSettings]) -> Group:
        """Changes what is said."""
        return self._one("groups.update", group, **settings)

    def seek(self, group: str, to: str | int | datetime, /, *, member: str | None = None) -> Group:
        """Moves one to ``earliest``, ``latest``, a position or a time."""
        return self._one("groups.seek", group, to=to, member=member)

    def delete(self, group: str, /) -> Group:
        """Deletes one, and where it stands."""
        return self._one("groups.delete", group)

    def delete_member(self, group: str, member: str, /) -> None:
        """Deletes a durable member."""
        self._ask("groups.delete_member", arguments(topic=self._topic, group=group, member=member))


class DeadLetters(_Admin):
    """Events of a topic that its groups have given up."""

    def __init__(self, client: Callable[[str], Client], topic: str, group: str | None, member: str | None) -> None:
        super().__init__(client)
        self._of = arguments(topic=topic, group=group, member=member)

    def list(self, *, events: bool = False) -> Iterator[DeadLetter]:
        """All of them, by ``for``; with their events if they are wanted."""
        return self._pages(DeadLetter, "dead_letters.list", {**self._of, **arguments(events=events or None)})

    def get(self, number: int, /) -> DeadLetter:
        """One of them, with its event."""
        return record(DeadLetter, json.loads(self._ask("dead_letters.get", {**self._of, **arguments(number=number)})))

    def redrive(self, numbers: Iterable[int], /) -> Redriven:
        """Gives these back to their groups."""
        return self._redrive({"numbers": listed(numbers)})

    def redrive_all(self) -> Redriven:
        """Gives all of them back."""
        return self._redrive({"all": True})

    def purge(self, numbers: Iterable[int], /) -> int:
        """Removes these for good; how many there were."""
        return self._purge({"numbers": listed(numbers)})

    def purge_all(self) -> int:
        """Removes all of them for good; how many there were."""
        return self._purge({"all": True})

    def _redrive(self, which: dict[str, Any]) -> Redriven:
        return record(Redriven, json.loads(self._ask("dead_letters.redrive", {**self._of, **which})))

    def _purge(self, which: dict[str, Any]) -> int:
        purged: int = json.loads(self._ask("dead_letters.purge", {**self._of, **which}))["purged"]
        return purged


class Limits(_Admin):
    """Limits of the whole gateway."""

    def get(self) -> LimitsInForce:
        """Those in force."""
        return record(LimitsInForce, json.loads(self._ask("limits.get", {})))

    def set(self, **limits: Unpack[LimitSettings]) -> LimitsInForce:
        """Sets what is said, until the gateway ends."""
        return record(LimitsInForce, json.loads(self._ask("limits.set", arguments(**limits))))
