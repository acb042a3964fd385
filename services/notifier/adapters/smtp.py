"""Mail: at least once, with a Message-ID that is the same at every sending of a delivery.

A mail server cannot be asked what it has taken. Where an answer is lost the mail is sent again,
byte for byte the same, and mail programs that drop a Message-ID they have show it once.

The server answers for each address. One that it refuses for now (greylisting) is tried again
alone: the mail's headers stay as they are, its envelope names only who has not got it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from email import policy
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from hashlib import sha256

import aiosmtplib

from chassis.settings import SmtpSettings
from services.notifier.domain.attempts import Absent, Accepted, Failure, Refusals
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

    async def send(self, entry: Entry) -> Accepted | Failure | Refusals:
        """Hand the mail to the server, for the recipients that have not got it."""
        settings = self._settings
        mail = compose(entry, sender=settings.sender)
        try:
            refused, _ = await aiosmtplib.send(
                mail,
                sender=settings.sender,
                recipients=list(entry.recipients),
                hostname=settings.host,
                port=settings.port,
                username=settings.username,
                password=settings.password.get_secret_value() if settings.password else None,
                start_tls=settings.starttls,
                timeout=settings.timeout_s,
            )
        except aiosmtplib.SMTPRecipientsRefused as error:
            codes = {one.recipient: (one.code, one.message) for one in error.recipients}
            return refusals_of(codes, str(mail["Message-ID"]))
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            return failure_of(error)
        if refused:
            codes = {who: (answer.code, answer.message) for who, answer in refused.items()}
            return refusals_of(codes, str(mail["Message-ID"]))
        return Accepted(str(mail["Message-ID"]))


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


def refusals_of(answers: Mapping[str, tuple[int, str]], remote_id: str) -> Refusals:
    """Sort refused addresses by the reply: 4yz may be tried again, 5yz may not (RFC 5321, 4.2.1)."""
    said = {address: f"{code} {text}" for address, (code, text) in answers.items()}
    passing = {address for address, (code, _) in answers.items() if code < 500}
    return Refusals(
        remote_id,
        for_now={address: answer for address, answer in said.items() if address in passing},
        for_good={address: answer for address, answer in said.items() if address not in passing},
    )


def failure_of(error: Exception) -> Failure:
    """Whether the mail may be handed over again, and whether it may have been taken."""
    reason = f"smtp: {type(error).__name__} {error}".rstrip()
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
    """One line of bounded length: facts of events reach headers.

    ``=?`` begins an encoded word (RFC 2047), which the email package decodes when a header is set,
    line breaks and all: there the text is parted.
    """
    clean = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(clean.split()).replace("=?", "= ?")[:_HEADER_LENGTH]
