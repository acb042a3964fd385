"""Mail: at least once, with a Message-ID that is the same at every sending of a delivery.

A mail server cannot be asked what it has taken. Where an answer is lost the mail is sent again,
byte for byte the same, and mail programs that drop a Message-ID they have show it once.
"""

from __future__ import annotations

from datetime import timedelta
from email import policy
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from hashlib import sha256

import aiosmtplib

from chassis.settings import SmtpSettings
from services.notifier.domain.attempts import Absent, Accepted, Failure
from services.notifier.domain.entry import Entry

_IMPORTANCE = {"low": "low", "medium": "normal", "high": "high", "critical": "high"}
_HEADER_LENGTH = 400
_POLICY = policy.SMTP.clone(cte_type="7bit")


class SmtpChannel:
    """One mail server. Every delivery is one mail to all addresses of its receiver."""

    spacing = timedelta(0)
    can_be_asked = False

    def __init__(self, settings: SmtpSettings) -> None:
        self.timeout = timedelta(seconds=settings.timeout_s)
        self._settings = settings

    async def admit(self) -> None:
        """A mail server tells its limits by its answers (4xx)."""

    async def find(self, entry: Entry) -> Accepted | Absent | Failure:
        """A mail server cannot be asked."""
        return Absent()

    async def send(self, entry: Entry) -> Accepted | Failure:
        """Hand the mail to the server."""
        settings = self._settings
        mail = compose(entry, sender=settings.sender)
        try:
            refused, _ = await aiosmtplib.send(
                mail,
                sender=settings.sender,
                recipients=list(entry.delivery.addresses),
                hostname=settings.host,
                port=settings.port,
                username=settings.username,
                password=settings.password.get_secret_value() if settings.password else None,
                start_tls=settings.starttls,
                timeout=settings.timeout_s,
            )
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            return failure_of(error)
        note = "; ".join(
            f"refused for {who}: {answer.code} {answer.message}" for who, answer in refused.items()
        )
        return Accepted(str(mail["Message-ID"]), note=note)


def compose(entry: Entry, *, sender: str) -> EmailMessage:
    """The mail: a function of the delivery alone, so that it is the same at every sending."""
    delivery, message = entry.delivery, entry.delivery.message
    mail = EmailMessage(policy=_POLICY)
    mail["From"] = Address("backout", addr_spec=sender)
    mail["To"] = _to(entry)
    mail["Subject"] = _header(message.subject)
    mail["Date"] = format_datetime(delivery.caused_at)
    mail["Message-ID"] = message_id(delivery.delivery_id, sender)
    if entry.thread is not None:
        first = message_id(entry.thread, sender)
        mail["In-Reply-To"] = first
        mail["References"] = first
    mail["Auto-Submitted"] = "auto-generated"
    mail["Importance"] = _IMPORTANCE[message.urgency]
    mail["X-Backout-Incident"] = _header(delivery.incident_id)
    mail["X-Backout-Delivery"] = _header(delivery.delivery_id)
    mail.set_content(message.content)
    return mail


def message_id(delivery_id: str, sender: str) -> str:
    """``<hash of the delivery's id@the sender's domain>``."""
    return f"<{sha256(delivery_id.encode()).hexdigest()[:40]}@{sender.rpartition('@')[2]}>"


def failure_of(error: Exception) -> Failure:
    """Whether the mail may be handed over again, and whether it may have been taken."""
    reason = f"smtp: {type(error).__name__} {error}".rstrip()
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        answers = ", ".join(f"{one.recipient}: {one.code} {one.message}" for one in error.recipients)
        passing = any(one.code < 500 for one in error.recipients)
        return Failure(f"smtp: every recipient refused: {answers}", retryable=passing)
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return Failure(f"smtp: {error.code} {error.message}", retryable=error.code < 500)
    if isinstance(error, aiosmtplib.SMTPConnectError | ConnectionRefusedError):
        return Failure(reason, retryable=True)
    if isinstance(error, aiosmtplib.SMTPNotSupported | ValueError):
        return Failure(reason, retryable=False)
    return Failure(reason, retryable=True, may_have_landed=True)


def _to(entry: Entry) -> str:
    """Customers must not read each other's addresses in the mail that they share."""
    addresses = entry.delivery.addresses
    if entry.delivery.tier == "customer" and len(addresses) > 1:
        return "undisclosed-recipients:;"
    return ", ".join(addresses)


def _header(text: str) -> str:
    """One line of bounded length: facts of events reach headers."""
    clean = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(clean.split())[:_HEADER_LENGTH]
