"""What a client tells of itself."""

from __future__ import annotations

from typing import Literal, TypeAlias, TypedDict

State: TypeAlias = Literal["disconnected", "connecting", "connected", "reconnecting", "draining", "closed"]


class Stats(TypedDict):
    """What a client did since it was made."""

    #: Publishes without a receipt, now, and bytes of them.
    pending: int
    pending_bytes: int
    #: Of those, what is not on its way: there is no gateway, or it takes no more now.
    buffered: int
    buffered_bytes: int
    #: Publishes that waited too long in the offline buffer.
    given_up: int
    #: Publishes that an earlier client left in the offline file, and what became of them.
    restored: int
    restored_published: int
    restored_failed: int
    #: Publishes admitted.
    published: int
    #: What the session travels in.
    carrier: str | None
    #: Logins after the first, and those that went on with the same session.
    reconnects: int
    resumes: int
    #: Events sent again after a reconnect, and those that are told apart by their ids alone.
    replays: int
    replays_by_id: int
    #: Connections dropped because the gateway broke the protocol, or said nothing.
    protocol_errors: int
    silences: int
    #: Settles that came too late.
    settles_dropped: int
    leases_lost: int
    #: Requests without their last reply, now, and replies that nobody waited for.
    requests: int
    replies_dropped: int
    replies_late: int
