"""Why a film was not judged, or in spite of what it was: the closed list of outcomes and reason codes (steps 1 to 6).

Each rule of the gate has one code and one sentence: the reason of a film it refuses, the flag of an answer that was
given in spite of it. Every code that Auscult stores, shows or answers comes from here, with the sentence that is shown beside it. The
sentences are fixed texts: they never quote a value from a data set, so they may be logged and stored anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """How the work on one image ended."""

    #: The image was judged: it has a probability and a label.
    OK = "OK"
    #: The image is in order, but outside what the model may judge.
    NOT_APPLICABLE = "NOT_APPLICABLE"
    #: The image itself is broken or coded in a way Auscult cannot read; trying again changes nothing.
    BAD_INPUT = "BAD_INPUT"
    #: Auscult failed; the image may be fine and a re-run may answer.
    FAILED = "FAILED"


class Reason(StrEnum):
    """A coded reason or flag; the attributes tell how the work ended and what a person should do about it."""

    # The gate: the film is in order, something speaks against judging it. These are flags too.
    NOT_A_RADIOGRAPH = "NOT_A_RADIOGRAPH"
    NOT_HUMAN = "NOT_HUMAN"
    TEST_PATTERN = "TEST_PATTERN"
    DERIVED_OBJECT = "DERIVED_OBJECT"
    NOT_CHEST = "NOT_CHEST"
    LATERAL_VIEW = "LATERAL_VIEW"
    AGE_OUT_OF_RANGE = "AGE_OUT_OF_RANGE"
    FOR_PROCESSING = "FOR_PROCESSING"
    MULTI_FRAME = "MULTI_FRAME"
    TOO_SMALL = "TOO_SMALL"
    CONSTANT_PICTURE = "CONSTANT_PICTURE"
    INVERTED_PICTURE = "INVERTED_PICTURE"
    BURNED_IN_ANNOTATION = "BURNED_IN_ANNOTATION"
    BODY_PART_UNKNOWN = "BODY_PART_UNKNOWN"
    VIEW_UNKNOWN = "VIEW_UNKNOWN"
    AGE_UNKNOWN = "AGE_UNKNOWN"
    UNLIKE_TRAINING = "UNLIKE_TRAINING"
    # Broken or unreadable input.
    NO_PIXEL_DATA = "NO_PIXEL_DATA"
    UNSUPPORTED_TRANSFER_SYNTAX = "UNSUPPORTED_TRANSFER_SYNTAX"
    UNSUPPORTED_PHOTOMETRIC = "UNSUPPORTED_PHOTOMETRIC"
    DECODE_FAILED = "DECODE_FAILED"
    TOO_LARGE = "TOO_LARGE"
    NOT_DICOM = "NOT_DICOM"
    UNREADABLE = "UNREADABLE"
    # Auscult failed.
    WORKER_LOST = "WORKER_LOST"
    ORIGINAL_MISSING = "ORIGINAL_MISSING"
    STORE_UNAVAILABLE = "STORE_UNAVAILABLE"
    MODEL_UNAVAILABLE = "MODEL_UNAVAILABLE"
    TIMED_OUT = "TIMED_OUT"
    INTERNAL_ERROR = "INTERNAL_ERROR"
    # A doubt about a whole study: NORMAL is withheld, PNEUMONIA stays and carries the flag.
    IDENTITY_CONFLICT = "IDENTITY_CONFLICT"
    LISTENER_SILENT = "LISTENER_SILENT"
    CORRECTION_PENDING = "CORRECTION_PENDING"
    # What else a row of the worklist says about its answer.
    ANSWER_LOWERED = "ANSWER_LOWERED"
    # Turned away at the door: an association or an object that never became an image.
    CALLING_AE_NOT_ALLOWED = "CALLING_AE_NOT_ALLOWED"
    ADDRESS_NOT_ALLOWED = "ADDRESS_NOT_ALLOWED"
    CALLED_AE_NOT_RECOGNISED = "CALLED_AE_NOT_RECOGNISED"
    PROTOCOL_VERSION_UNKNOWN = "PROTOCOL_VERSION_UNKNOWN"
    USER_IDENTITY_REJECTED = "USER_IDENTITY_REJECTED"
    TOO_MANY_ASSOCIATIONS = "TOO_MANY_ASSOCIATIONS"
    TOO_MANY_FROM_PEER = "TOO_MANY_FROM_PEER"
    NO_CONTEXT_ACCEPTED = "NO_CONTEXT_ACCEPTED"
    TLS_FAILED = "TLS_FAILED"
    PROTOCOL_ERROR = "PROTOCOL_ERROR"
    PDU_TOO_LARGE = "PDU_TOO_LARGE"
    ASSOCIATION_TIMED_OUT = "ASSOCIATION_TIMED_OUT"
    OBJECT_TOO_LARGE = "OBJECT_TOO_LARGE"
    COMMITMENT_REFUSED = "COMMITMENT_REFUSED"
    INVALID_STUDY_UID = "INVALID_STUDY_UID"
    INVALID_SERIES_UID = "INVALID_SERIES_UID"
    INVALID_SOP_UID = "INVALID_SOP_UID"
    SOP_MISMATCH = "SOP_MISMATCH"
    HEADER_UNREADABLE = "HEADER_UNREADABLE"
    OUT_OF_RESOURCES = "OUT_OF_RESOURCES"
    REGISTRATION_FAILED = "REGISTRATION_FAILED"

    @property
    def outcome(self) -> Outcome | None:
        """The outcome a result with this reason has; None for a refusal at the door, which has no result."""
        return _ENTRIES[self].outcome

    @property
    def telling(self) -> int:
        """How much the reason tells about a study: of several films' reasons the one with the largest is shown.

        A film that came further through the gate was more nearly judged, so its reason says more about the study than
        the presentation state or the lateral view beside it; a failure says more than any refusal.
        """
        return _ENTRIES[self].telling

    @property
    def sentence(self) -> str:
        """What happened and what to do about it, for a person; it quotes nothing from the data set."""
        return _ENTRIES[self].sentence


@dataclass(frozen=True, slots=True)
class _Entry:
    outcome: Outcome | None
    telling: int
    sentence: str


#: Codes of a study's row alone: doubts that withhold NORMAL, and what else is said beside an answer.
STUDY_REASONS = (
    Reason.IDENTITY_CONFLICT,
    Reason.LISTENER_SILENT,
    Reason.CORRECTION_PENDING,
    Reason.ANSWER_LOWERED,
)

_ENTRIES: dict[Reason, _Entry] = {
    Reason.NOT_A_RADIOGRAPH: _Entry(
        Outcome.NOT_APPLICABLE, 10, "Not a plain radiograph (CR, DX or RG); nothing to do."
    ),
    Reason.NOT_HUMAN: _Entry(
        Outcome.NOT_APPLICABLE,
        12,
        "The header says that the patient is an animal; if that is wrong, correct it and resend.",
    ),
    Reason.TEST_PATTERN: _Entry(
        Outcome.NOT_APPLICABLE, 14, "A test pattern, phantom or drawing; if it shows a patient, check how it was made."
    ),
    Reason.DERIVED_OBJECT: _Entry(
        Outcome.NOT_APPLICABLE,
        16,
        "A picture computed from a film (bone or soft tissue image, tomogram, analysis, screenshot); send the film itself.",
    ),
    Reason.NOT_CHEST: _Entry(
        Outcome.NOT_APPLICABLE,
        20,
        "The header names another part of the body than the chest; if that is wrong, correct the body part and resend.",
    ),
    Reason.MULTI_FRAME: _Entry(
        Outcome.NOT_APPLICABLE, 25, "The object holds several frames; only single films are judged."
    ),
    Reason.LATERAL_VIEW: _Entry(
        Outcome.NOT_APPLICABLE,
        30,
        "A lateral or oblique view; the model judges frontal films only, so send the frontal film too.",
    ),
    Reason.FOR_PROCESSING: _Entry(
        Outcome.NOT_APPLICABLE,
        35,
        "Raw detector data (For Processing); have the modality send the film For Presentation.",
    ),
    Reason.TOO_SMALL: _Entry(
        Outcome.NOT_APPLICABLE, 40, "The shortest side is under 128 pixels; send the film at its original size."
    ),
    Reason.CONSTANT_PICTURE: _Entry(
        Outcome.NOT_APPLICABLE,
        45,
        "The film is blank: nearly every pixel shows the same grey; check exposure and window.",
    ),
    Reason.BODY_PART_UNKNOWN: _Entry(
        Outcome.NOT_APPLICABLE, 46, "The header names no body part; check that the film shows a chest."
    ),
    Reason.VIEW_UNKNOWN: _Entry(
        Outcome.NOT_APPLICABLE,
        47,
        "The header names no view, or two that contradict each other; check that the film is frontal.",
    ),
    Reason.BURNED_IN_ANNOTATION: _Entry(
        Outcome.NOT_APPLICABLE,
        48,
        "The header says that text is burnt into the film; check that none lies on the lungs.",
    ),
    Reason.AGE_UNKNOWN: _Entry(
        Outcome.NOT_APPLICABLE, 49, "The header tells no age; check that the patient is of the model's ages."
    ),
    Reason.AGE_OUT_OF_RANGE: _Entry(
        Outcome.NOT_APPLICABLE, 50, "The patient's age is outside the ages the model was made for."
    ),
    Reason.INVERTED_PICTURE: _Entry(
        Outcome.NOT_APPLICABLE,
        51,
        "The film looks like a negative, black bones on white lungs; correct its Photometric Interpretation and resend.",
    ),
    Reason.UNLIKE_TRAINING: _Entry(
        Outcome.NOT_APPLICABLE,
        52,
        "The picture is unlike the films the model learned from; check that it is a frontal chest, upright and not "
        "inverted, and read it without the model.",
    ),
    Reason.NO_PIXEL_DATA: _Entry(
        Outcome.BAD_INPUT, 60, "The film came without pixel data; send it again from the archive or the modality."
    ),
    Reason.UNSUPPORTED_TRANSFER_SYNTAX: _Entry(
        Outcome.BAD_INPUT,
        62,
        "The film's compression is not supported; have the sender use a coding in CONFORMANCE.md.",
    ),
    Reason.UNSUPPORTED_PHOTOMETRIC: _Entry(
        Outcome.BAD_INPUT,
        62,
        "The pixel format (photometric interpretation, samples or bits) is missing, contradictory or not supported.",
    ),
    Reason.TOO_LARGE: _Entry(
        Outcome.BAD_INPUT, 63, "The file or its picture is larger than the limit; no radiograph is that large."
    ),
    Reason.DECODE_FAILED: _Entry(
        Outcome.BAD_INPUT, 64, "The pixel data are damaged or do not fit the header; send the film again."
    ),
    Reason.NOT_DICOM: _Entry(Outcome.BAD_INPUT, 55, "Neither a DICOM file nor a JPEG or PNG picture."),
    Reason.UNREADABLE: _Entry(
        Outcome.BAD_INPUT, 56, "The file cannot be read to its end; check the file and its permissions."
    ),
    Reason.WORKER_LOST: _Entry(
        Outcome.FAILED, 80, "The worker ended during this film on every attempt; look into its log, then re-run."
    ),
    Reason.ORIGINAL_MISSING: _Entry(
        Outcome.FAILED, 82, "Neither the stored original nor its film is there; restore the store or send it again."
    ),
    Reason.STORE_UNAVAILABLE: _Entry(
        Outcome.FAILED, 85, "The store or the films' folder is away, full or not writable; the film waits for it."
    ),
    Reason.MODEL_UNAVAILABLE: _Entry(
        Outcome.FAILED, 84, "The model could not be loaded; check it with 'auscult model list', then re-run."
    ),
    Reason.TIMED_OUT: _Entry(
        Outcome.FAILED, 81, "The work took longer than the time limit; re-run when there is room."
    ),
    Reason.INTERNAL_ERROR: _Entry(
        Outcome.FAILED, 83, "An error inside Auscult; the log names it under this task's id. Please report it."
    ),
    Reason.IDENTITY_CONFLICT: _Entry(
        None,
        92,
        "Objects contradict each other about the patient or the study; see 'auscult conflict list' and decide which is right.",
    ),
    Reason.LISTENER_SILENT: _Entry(
        None,
        91,
        "A listener is silent and may hold films of this study; start it, or retire it with 'auscult listener retire'.",
    ),
    Reason.CORRECTION_PENDING: _Entry(
        None, 90, "A newer version of a film is not judged yet; the answer is that of the version before."
    ),
    Reason.ANSWER_LOWERED: _Entry(
        None, 0, "An earlier answer of this study was PNEUMONIA; 'auscult show' lists what changed it."
    ),
    Reason.CALLING_AE_NOT_ALLOWED: _Entry(
        None, 0, "The calling AE title is not on the allow-list; add it to the settings or correct it at the sender."
    ),
    Reason.ADDRESS_NOT_ALLOWED: _Entry(
        None, 0, "The sender's address is not on the allow-list; add it to the settings if it may send."
    ),
    Reason.CALLED_AE_NOT_RECOGNISED: _Entry(
        None, 0, "The sender called another AE title than ours; correct the destination at the sender."
    ),
    Reason.PROTOCOL_VERSION_UNKNOWN: _Entry(
        None,
        0,
        "The sender speaks another version of the DICOM upper layer protocol than version 1; correct the sender.",
    ),
    Reason.USER_IDENTITY_REJECTED: _Entry(
        None, 0, "The sender asks for user identity negotiation; switch it off there, or allow it in the settings."
    ),
    Reason.TOO_MANY_ASSOCIATIONS: _Entry(
        None, 0, "As many associations or connections are open as the settings allow; the sender may try again later."
    ),
    Reason.TOO_MANY_FROM_PEER: _Entry(
        None, 0, "The sender's address holds as many associations or connections as one may; look at what it does."
    ),
    Reason.NO_CONTEXT_ACCEPTED: _Entry(
        None, 0, "The sender proposed no service that is offered here; correct what it is configured to do with us."
    ),
    Reason.TLS_FAILED: _Entry(
        None,
        0,
        "The TLS handshake failed: no certificate or one that is not trusted or expired, no common version or suite, "
        "or a sender without TLS.",
    ),
    Reason.PROTOCOL_ERROR: _Entry(
        None, 0, "What came is against the DICOM protocol (PS3.7, PS3.8), so the association was aborted."
    ),
    Reason.PDU_TOO_LARGE: _Entry(
        None, 0, "A PDU is larger than was negotiated, or than any may be that comes before; the sender is at fault."
    ),
    Reason.ASSOCIATION_TIMED_OUT: _Entry(
        None, 0, "The sender was silent or too slow for too long, or the association was open longer than one may be."
    ),
    Reason.OBJECT_TOO_LARGE: _Entry(
        None, 0, "The object is larger than the settings allow; raise max_object_mb if such objects are wanted."
    ),
    Reason.COMMITMENT_REFUSED: _Entry(
        None,
        0,
        "A request for storage commitment was not taken: the sender is not among the peers its answer could go to, or "
        "the request is faulty; the log names the status.",
    ),
    Reason.INVALID_STUDY_UID: _Entry(
        None, 0, "The Study Instance UID is missing or not a UID; correct the object at its source and resend."
    ),
    Reason.INVALID_SERIES_UID: _Entry(
        None, 0, "The Series Instance UID is missing or not a UID; correct the object at its source and resend."
    ),
    Reason.INVALID_SOP_UID: _Entry(
        None, 0, "The SOP Class or Instance UID is missing or not a UID; correct the object at its source and resend."
    ),
    Reason.SOP_MISMATCH: _Entry(
        None, 0, "The data set is another object than the request announced; correct the sender."
    ),
    Reason.HEADER_UNREADABLE: _Entry(
        None, 0, "The header cannot be parsed; the object is damaged or its transfer syntax is not the announced one."
    ),
    Reason.OUT_OF_RESOURCES: _Entry(None, 0, "The disk of the inbox is full; free space, the sender may then repeat."),
    Reason.REGISTRATION_FAILED: _Entry(
        None, 0, "The object could not be registered and lies in the spool's quarantine; the log says why."
    ),
}
