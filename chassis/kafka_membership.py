"""A process's place in a consumer group, which another process of the same name takes away.

A static member is known by its name (``group.instance.id``, our ``instance``), so that a restart finds its
place again. Two processes of one name are one member: the broker gives the place to the one that joins last,
and no longer knows the other's member id. aiokafka takes that for a session that has run out, forgets its id
and joins as somebody new, which takes the place away from the other, and so on for ever, and both seem well.

The broker can tell the two apart (KIP-345): whoever joins with a name *and* its former id is told whether
the session has run out (UNKNOWN_MEMBER_ID) or the name has passed to another (FENCED_INSTANCE_ID). So the
former id is kept here and named when joining, also by a later consumer of the same process. Who is fenced
joins no more: the place belongs to the one that came last, as it does where a process that was frozen was
replaced.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiokafka import errors
from aiokafka.errors import BrokerResponseError, KafkaError

from chassis.errors import ConfigError

_NOBODY = ""


class InstanceNameTaken(ConfigError):
    """Another process has taken this one's name in a consumer group."""


class FencedInstanceIdError(BrokerResponseError):  # type: ignore[misc]
    """What aiokafka 0.14 has no name for."""

    errno = 82
    message = "FENCED_INSTANCE_ID"


def taken(error: KafkaError) -> InstanceNameTaken:
    """The same in words for a person."""
    return InstanceNameTaken(
        f"another process has taken this one's place: {error.args[0]}",
        place="BACKOUT_INSTANCE",
        mend="Give each process of a service a name of its own (the host's, where none is set), or leave the "
        "work to the other, where it was started in this one's stead",
    )


class Memberships:
    """The member ids of one process, by group and name."""

    def __init__(self) -> None:
        self._former: dict[tuple[str, str], str] = {}

    def watch(self, coordinator: Any, told: Callable[[InstanceNameTaken], None] = lambda _: None) -> None:
        """See to the joining of a consumer's coordinator, before it joins. ``told`` is called, each time,
        in the consumer's loop; whoever polls gets FencedInstanceIdError."""
        if coordinator._group_instance_id is not None:
            _Membership(coordinator, self._former, told)


class _Membership:
    """Stands in for two methods of one coordinator."""

    def __init__(
        self,
        coordinator: Any,
        former: dict[tuple[str, str], str],
        told: Callable[[InstanceNameTaken], None],
    ) -> None:
        errors.kafka_errors.setdefault(FencedInstanceIdError.errno, FencedInstanceIdError)
        self._coordinator = coordinator
        self._told = told
        self._former = former
        self._who = (coordinator.group_id, coordinator._group_instance_id)
        self._joining = False
        self._reset, self._rejoin = coordinator.reset_generation, coordinator._do_rejoin_group
        coordinator.reset_generation, coordinator._do_rejoin_group = self.reset, self.rejoin

    def reset(self) -> None:
        """The broker does not know the member id, or the group's generation."""
        if self._joining and self._coordinator.generation < 0:
            # Asked with the former id: nobody has the name.
            self._former.pop(self._who, None)
        elif self._coordinator.member_id != _NOBODY:
            self._former[self._who] = self._coordinator.member_id
        self._reset()

    async def rejoin(self, subscription: Any) -> bool:
        """Join as the one that the broker knew, if it did."""
        coordinator = self._coordinator
        if coordinator.member_id == _NOBODY:
            coordinator.member_id = self._former.get(self._who, _NOBODY)
        self._joining = True
        try:
            joined = bool(await self._rejoin(subscription))
        except KafkaError as error:
            if "FencedInstanceId" not in str(error):
                raise
            fenced = FencedInstanceIdError(f"{self._who[1]!r} of the group {self._who[0]}")
            self._told(taken(fenced))
            raise fenced from error
        finally:
            self._joining = False
            if coordinator.member_id != _NOBODY:
                self._former[self._who] = coordinator.member_id
        return joined
