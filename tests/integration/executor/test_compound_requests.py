"""From a report to the executor: what can run begins, and what cannot is refused where all can see it."""

from __future__ import annotations

import asyncio
import json

from chassis.settings import Settings
from schemas.rollbacks import RollbackEvent
from schemas.triggers import TriggerEvent
from tests.integration.conftest import Backout
from tests.integration.executor.stage import COMPONENT, Executors, pause
from tests.integration.monitor.monitor_process import running_monitor

TRIGGERS = f"""\
triggers: [{{name: slow, metric: ms, when: "> 100"}}]
compound_triggers:
  - {{name: corrupted, report: data_corruption, immediate: true}}
  - {{name: breached, report: security_breach, immediate: true, then: {{rollback: {COMPONENT}}}}}
"""


async def test_a_report_is_journaled_and_what_has_a_playbook_begins(
    executors: Executors, settings: Settings, backout: Backout
) -> None:
    (executors.config_dir / "rollback").mkdir(parents=True)
    (executors.config_dir / "rollback" / "compound_triggers.yml").write_text(TRIGGERS)
    (executors.config_dir / "targets.yml").write_text("default: '{component}'\n")
    executors.start()
    await executors.command(pause(), event_id="pause-1", component="full_system")
    with running_monitor(settings, executors.config_dir) as monitor:
        await monitor.ready()
        for kind in ("--data-corruption", "--security-breach"):
            arguments = ("report", kind, "--component", "vectors", "--reason", "seen", "-o", "json")
            ran = await asyncio.to_thread(backout, *arguments)
            assert ran.status == 0, ran.err
            assert json.loads(ran.out)["report_id"].startswith("report-")
        # The full system has no playbook in this version; the other passes the pause, being immediate.
        end = await executors.ended()
        assert await monitor.stop() == 0, monitor.log
    assert end.status == "Success"
    told = [event.data for event in await executors.events("triggers")]
    by_name = {data.trigger: data for data in told if isinstance(data, TriggerEvent)}
    entries: list[RollbackEvent] = await executors.rollbacks()
    (refused,) = [entry for entry in entries if entry.kind == "refused"]
    assert (refused.reason, refused.requested_by) == ("no_playbook", by_name["corrupted"].trigger_id)
    (started,) = [entry for entry in entries if entry.kind == "started"]
    assert (started.component, started.requested_by) == (COMPONENT, by_name["breached"].trigger_id)
    assert "reported security breach of vectors" in started.why
