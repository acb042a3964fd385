"""The smallest rollback there is: a playbook of one step, and an execution of it."""

from __future__ import annotations

from services.executor.domain.execution import Execution
from services.executor.domain.playbook import HttpCheck, Playbook, Step

BOOK = Playbook(
    name="extractor",
    deadline_s=60,
    steps=(Step(id="one", description="", action=HttpCheck(url="{target.x}/a"), timeout_s=1),),
)
EXECUTION = Execution(
    execution_id="rb-1",
    component="extractor",
    requested_by="command-1",
    asked_by="command",
    cause_id="command-1",
    incident_id="command-1",
    mode="planned",
    heeds_pause=True,
    reason="slow",
    playbook=BOOK,
    plan_hash="sha256:0",
)
