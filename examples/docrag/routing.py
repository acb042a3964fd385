"""Which implementation extracts text, as a value: the configuration, its checksum and its permitted changes.

Everything here is a pure function of values. `configuration_file` keeps the value on disk, `control`
changes it.

A change that would leave routing pointing at nothing on purpose is refused, with one exception: switching
the enhanced extractors off while traffic is still routed to them is what backing a release out begins with,
and uploads are answered with 503 until the original extractor is restored and routed to.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

COMPONENT = "pdf_extraction"
Mode = Literal["original", "enhanced"]
EnhancedName = Literal["pypdf", "pdfplumber", "pymupdf"]
SealedT = TypeVar("SealedT", bound=BaseModel)
ENHANCED_ORDER: tuple[EnhancedName, ...] = ("pypdf", "pdfplumber", "pymupdf")


class ConfigurationError(Exception):
    """A configuration file cannot be trusted. The message names the file, the fault and the mend."""


class ChangeRefused(Exception):
    """The requested change would leave the component in a state it must not be in. The message says why."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class OriginalSettings(_Frozen):
    """Settings of the original extractor."""

    max_pages: int = Field(default=500, ge=1, le=10_000)
    unicode_form: Literal["NFC", "NFKC"] = "NFC"


class OriginalConfiguration(_Frozen):
    """What it takes to initialize the original extractor; this is what the backup file holds."""

    component: Literal["pdf_extraction"] = "pdf_extraction"
    extractor: Literal["original"] = "original"
    implementation: Literal["pypdfium2"] = "pypdfium2"
    settings: OriginalSettings = OriginalSettings()


class Switch(_Frozen):
    """One enhanced extractor, on or off."""

    enabled: bool


class EnhancedSwitches(_Frozen):
    """The enhanced extractors, in the order in which they are tried."""

    pypdf: Switch
    pdfplumber: Switch
    pymupdf: Switch

    @classmethod
    def all(cls, *, enabled: bool) -> "EnhancedSwitches":
        """All three set alike."""
        switch = Switch(enabled=enabled)
        return cls(pypdf=switch, pdfplumber=switch, pymupdf=switch)

    def enabled(self) -> tuple[EnhancedName, ...]:
        """Names of those switched on, in order."""
        return tuple(name for name in ENHANCED_ORDER if getattr(self, name).enabled)


class ExtractorSet(_Frozen):
    """Both implementations. `original` is None while the original extractor is shut down."""

    original: OriginalConfiguration | None
    enhanced: EnhancedSwitches


class ExtractionConfiguration(_Frozen):
    """The whole routing decision. `epoch` is that of the change that wrote it, 0 where none was given."""

    component: Literal["pdf_extraction"] = "pdf_extraction"
    mode: Mode
    epoch: int = Field(ge=0)
    extractors: ExtractorSet


def initial() -> ExtractionConfiguration:
    """The state before any release of the enhanced extractors."""
    return ExtractionConfiguration(
        mode="original",
        epoch=0,
        extractors=ExtractorSet(
            original=OriginalConfiguration(), enhanced=EnhancedSwitches.all(enabled=False)
        ),
    )


# --- checksums ---


def canonical(document: Mapping[str, Any]) -> bytes:
    """One byte sequence for equal documents: sorted keys, no spaces, UTF-8."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def checksum(document: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical document, without its own `checksum` entry."""
    rest = {key: value for key, value in document.items() if key != "checksum"}
    return hashlib.sha256(canonical(rest)).hexdigest()


def checksum_of(model: BaseModel) -> str:
    """The checksum that the model's sealed file carries."""
    return checksum(model.model_dump(mode="json"))


def seal(model: BaseModel) -> dict[str, Any]:
    """The document to be written: the model and its checksum."""
    document = model.model_dump(mode="json")
    return {**document, "checksum": checksum(document)}


def unseal(content: bytes, kind: type[SealedT], place: str) -> SealedT:
    """Parse and verify a sealed document.

    Raises ConfigurationError, naming `place`, on anything but an intact document of this kind.
    """
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{place} is not JSON ({error}); put the last intact copy back") from error
    if not isinstance(document, dict):
        raise ConfigurationError(f"{place} holds no JSON object; put the last intact copy back")
    expected = checksum(document)
    if document.get("checksum") != expected:
        raise ConfigurationError(
            f"{place} was changed or damaged: its checksum is {document.get('checksum')!r}, its content's is"
            f" {expected!r}; put the last intact copy back"
        )
    del document["checksum"]
    try:
        return kind.model_validate_json(json.dumps(document))
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in fault["loc"])
        raise ConfigurationError(
            f"{place}: {where}: {fault['msg']}; put the last intact copy back"
        ) from error


# --- changes ---


def with_enhanced(config: ExtractionConfiguration, *, enabled: bool) -> ExtractionConfiguration:
    """Switch all enhanced extractors on or off. Routing stays as it is."""
    return _with_extractors(config, config.extractors.original, EnhancedSwitches.all(enabled=enabled))


def with_original(
    config: ExtractionConfiguration, original: OriginalConfiguration | None
) -> ExtractionConfiguration:
    """Initialize the original extractor with a verified configuration, or shut it down (None)."""
    if original is None and config.mode == "original":
        raise ChangeRefused("the original extractor cannot be shut down while extraction is routed to it")
    return _with_extractors(config, original, config.extractors.enhanced)


def with_routing(config: ExtractionConfiguration, mode: Mode) -> ExtractionConfiguration:
    """Route extraction to an implementation that is ready to take it."""
    if mode == "original" and config.extractors.original is None:
        raise ChangeRefused("the original extractor is not initialized: restore it from its backup first")
    if mode == "enhanced" and not config.extractors.enhanced.enabled():
        raise ChangeRefused("no enhanced extractor is enabled: enable them first")
    return config.model_copy(update={"mode": mode})


def with_mode(
    config: ExtractionConfiguration, mode: Mode, backup: OriginalConfiguration
) -> ExtractionConfiguration:
    """Deploy one implementation and retire the other.

    `backup` is the verified backup: what `original` is restored from, and what must exist before that is
    retired.
    """
    if mode == "original":
        restored = with_original(config, config.extractors.original or backup)
        return with_enhanced(with_routing(restored, "original"), enabled=False)
    deployed = with_routing(with_enhanced(config, enabled=True), "enhanced")
    return with_original(deployed, None)


def _with_extractors(
    config: ExtractionConfiguration, original: OriginalConfiguration | None, enhanced: EnhancedSwitches
) -> ExtractionConfiguration:
    return config.model_copy(update={"extractors": ExtractorSet(original=original, enhanced=enhanced)})


# --- view ---


def describe(config: ExtractionConfiguration, highest_epoch: int) -> dict[str, Any]:
    """The component as the control endpoint shows it."""
    original = config.extractors.original
    return {
        "component": COMPONENT,
        "mode": config.mode,
        "routing": {"mode": config.mode},
        "enhanced": config.extractors.enhanced.model_dump(),
        "original": {
            "initialized": original is not None,
            "implementation": original.implementation if original else None,
            "config_checksum": checksum_of(original) if original else None,
        },
        "epoch": highest_epoch,
    }
