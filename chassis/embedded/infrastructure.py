"""The servers that the settings do not give: started together, in one process group."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from chassis.embedded.kafka import EmbeddedKafka
from chassis.embedded.postgres import EmbeddedPostgres
from chassis.embedded.process_group import ProcessGroup
from chassis.embedded.progress import Progress, no_progress
from chassis.settings import Settings

DATABASE = "backout"


@dataclass(frozen=True, slots=True)
class Infrastructure:
    """Where Kafka and the control plane's database are; ``embedded`` names those started here."""

    bootstrap_servers: str
    dsn: str
    embedded: tuple[str, ...]


@contextmanager
def infrastructure(
    settings: Settings,
    group: ProcessGroup,
    *,
    durable: bool = True,
    on_progress: Progress = no_progress,
) -> Iterator[Infrastructure]:
    """Start what ``settings`` leave out, under their state directory. Raises EmbeddedError.

    Stop clients of these servers before leaving.
    """
    embedded = []
    with ExitStack() as stack:
        if settings.postgres.dsn is None:
            postgres = stack.enter_context(
                EmbeddedPostgres(
                    settings.state_dir / "postgres", group=group, durable=durable, on_progress=on_progress
                )
            )
            dsn = postgres.create_database(DATABASE)
            embedded.append("postgres")
        else:
            dsn = settings.postgres_dsn
        if settings.kafka.bootstrap_servers is None:
            kafka = stack.enter_context(
                EmbeddedKafka(
                    settings.state_dir / "kafka",
                    cache_dir=settings.cache_dir,
                    group=group,
                    on_progress=on_progress,
                )
            )
            bootstrap_servers = kafka.bootstrap_servers
            embedded.append("kafka")
        else:
            bootstrap_servers = settings.bootstrap_servers
        yield Infrastructure(bootstrap_servers, dsn, tuple(embedded))
