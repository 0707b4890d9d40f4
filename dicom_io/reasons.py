"""The closed list of outcomes and reason codes (steps 1 to 6), each code with the sentence that is shown beside it.

A code is the reason of a film that was not judged, a flag of an answer that was given all the same, a doubt about a
whole study, or the reason of a refusal by the listener. Each rule of the gate has one code. A sentence says what is
wrong and then what to do. It is a fixed text that never quotes a value of a data set, so it may be logged and stored
anywhere.
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
    #: The image is damaged or coded in a way that Auscult cannot read; trying again changes nothing.
    BAD_INPUT = "BAD_INPUT"
    #: Auscult failed; the image may be in order, and a re-run may give an answer.
    FAILED = "FAILED"


class Reason(StrEnum):
    """A coded reason or flag, with the outcome it leads to and the sentence for a person."""

    # The gate: the film is in order, but a rule speaks against judging it. These codes are flags too.
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
    # Said at registration, and never asked of the gate: what Auscult made of a result came back.
    OWN_RESULT = "OWN_RESULT"
    # Damaged or unreadable input.
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
    PURGED = "PURGED"
    STORE_UNAVAILABLE = "STORE_UNAVAILABLE"
    MODEL_UNAVAILABLE = "MODEL_UNAVAILABLE"
    TIMED_OUT = "TIMED_OUT"
    INTERNAL_ERROR = "INTERNAL_ERROR"
    # A doubt about a whole study: NORMAL is withheld, PNEUMONIA stays and carries the flag.
    IDENTITY_CONFLICT = "IDENTITY_CONFLICT"
    LISTENER_SILENT = "LISTENER_SILENT"
    MODEL_SUSPENDED = "MODEL_SUSPENDED"
    CORRECTION_PENDING = "CORRECTION_PENDING"
    # Films that the hospital has taken back: without others NORMAL is withheld, else a note beside the answer.
    WITHDRAWN = "WITHDRAWN"
    REJECTED_FOR_QUALITY = "REJECTED_FOR_QUALITY"
    # A note beside an answer of the worklist.
    ANSWER_LOWERED = "ANSWER_LOWERED"
    # Refused by the listener: an association, or an object that never became an image.
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
    REJECTED_BEFORE = "REJECTED_BEFORE"

    @property
    def outcome(self) -> Outcome | None:
        """The outcome of a result with this reason; None where the reason belongs to no result."""
        return _DEFINITIONS[self].outcome

    @property
    def telling(self) -> int:
        """How much the reason tells about a study; of the reasons of its films the one with the largest value is shown.

        A film that came further through the gate was closer to being judged, so its reason says more about the study
        than a presentation state or a lateral view beside it. A failure says more than any refusal.
        """
        return _DEFINITIONS[self].telling

    @property
    def sentence(self) -> str:
        """What is wrong and what to do, for a person; at most 200 characters, without any value of the data set."""
        return _DEFINITIONS[self].sentence


@dataclass(frozen=True, slots=True)
class _Definition:
    outcome: Outcome | None
    telling: int
    sentence: str


#: Codes that only the row of a study has: doubts that withhold NORMAL, and notes beside an answer.
STUDY_REASONS = (
    Reason.IDENTITY_CONFLICT,
    Reason.LISTENER_SILENT,
    Reason.MODEL_SUSPENDED,
    Reason.CORRECTION_PENDING,
    Reason.WITHDRAWN,
    Reason.REJECTED_FOR_QUALITY,
    Reason.ANSWER_LOWERED,
)

#: Sentences of the reasons of refusals, which belong to no result.
_REFUSALS = {
    Reason.CALLING_AE_NOT_ALLOWED: "The calling AE title is not on the allow-list. Add it to the settings, or correct it at the sender.",
    Reason.ADDRESS_NOT_ALLOWED: "The sender's address is not on the allow-list. If it may send, add it to the settings.",
    Reason.CALLED_AE_NOT_RECOGNISED: "The sender called an AE title that is not ours. Correct the called AE title at the sender.",
    Reason.PROTOCOL_VERSION_UNKNOWN: "The sender does not offer version 1 of the DICOM upper layer protocol. Correct the sender.",
    Reason.USER_IDENTITY_REJECTED: "The sender asks for user identity negotiation. Switch it off at the sender, or allow it in the settings.",
    Reason.TOO_MANY_ASSOCIATIONS: "As many associations or connections are open as the settings allow. Let the sender try again later, or raise max_associations.",
    Reason.TOO_MANY_FROM_PEER: "The sender's address holds as many associations or connections as one address may. Check the sender, or raise max_per_peer.",
    Reason.NO_CONTEXT_ACCEPTED: "The sender proposed no service that Auscult offers. Correct the configuration of the sender.",
    Reason.TLS_FAILED: "The TLS handshake failed: no TLS, no certificate, an expired or untrusted one, or no common version or suite. Check the certificates and TLS settings of both sides.",
    Reason.PROTOCOL_ERROR: "The sender broke the DICOM protocol (PS3.7, PS3.8), so the association was aborted. Correct the sender.",
    Reason.PDU_TOO_LARGE: "A PDU is larger than was negotiated, or than any PDU may be before negotiation. Correct the sender.",
    Reason.ASSOCIATION_TIMED_OUT: "The sender was silent or too slow, or the association was open for too long. Check the network and the sender, or raise the time limits in the settings.",
    Reason.OBJECT_TOO_LARGE: "The object is larger than the settings allow. If such objects are wanted, raise max_object_mb.",
    Reason.COMMITMENT_REFUSED: "A request for storage commitment was refused: it is faulty, or no peer is known to send its answer to. Read its status in the log, then correct the request or add the peer.",
    Reason.INVALID_STUDY_UID: "The Study Instance UID is missing or not a UID. Correct the object at its source and send it again.",
    Reason.INVALID_SERIES_UID: "The Series Instance UID is missing or not a UID. Correct the object at its source and send it again.",
    Reason.INVALID_SOP_UID: "The SOP Class or Instance UID is missing or not a UID. Correct the object at its source and send it again.",
    Reason.SOP_MISMATCH: "The data set is a different object from the one that the request announced. Correct the sender.",
    Reason.HEADER_UNREADABLE: "The header cannot be parsed: the object is damaged, or its transfer syntax is not the announced one. Send it again, or correct the sender.",
    Reason.OUT_OF_RESOURCES: "The inbox is full: its disk, or the number of objects that wait to be registered. Free space, or see why they wait; the sender may then send the object again.",
    Reason.REGISTRATION_FAILED: "The object could not be registered and lies in the spool's quarantine. Read the cause in the log, correct it and send the object again.",
    Reason.REJECTED_BEFORE: "The object was withdrawn by a rejection note and was sent again; it does not count. If it should, revoke the note by 'auscult withdrawal revoke'.",
}

_DEFINITIONS: dict[Reason, _Definition] = {
    Reason.NOT_A_RADIOGRAPH: _Definition(
        Outcome.NOT_APPLICABLE, 10, "The object is not a plain radiograph (CR, DX or RG). Nothing needs to be done."
    ),
    Reason.OWN_RESULT: _Definition(
        Outcome.NOT_APPLICABLE,
        5,
        "The object is a result of Auscult that came back. It is kept, is not judged, and changes no answer.",
    ),
    Reason.NOT_HUMAN: _Definition(
        Outcome.NOT_APPLICABLE,
        12,
        "The header says that the patient is an animal. If that is wrong, correct the header and send the film again.",
    ),
    Reason.TEST_PATTERN: _Definition(
        Outcome.NOT_APPLICABLE,
        14,
        "The film shows a test pattern, a phantom or a drawing. If it shows a patient, check how the film was made.",
    ),
    Reason.DERIVED_OBJECT: _Definition(
        Outcome.NOT_APPLICABLE,
        16,
        "The picture was computed from a film (bone or soft tissue image, tomogram, analysis, screenshot). Send "
        "the film itself.",
    ),
    Reason.NOT_CHEST: _Definition(
        Outcome.NOT_APPLICABLE,
        20,
        "The header names a body part other than the chest. If that is wrong, correct it and send the film again.",
    ),
    Reason.MULTI_FRAME: _Definition(
        Outcome.NOT_APPLICABLE,
        25,
        "The object holds several frames, and only single films are judged. Send each film as an object of its own.",
    ),
    Reason.LATERAL_VIEW: _Definition(
        Outcome.NOT_APPLICABLE,
        30,
        "The view is lateral or oblique, and the model judges frontal films only. Send the frontal film too.",
    ),
    Reason.FOR_PROCESSING: _Definition(
        Outcome.NOT_APPLICABLE,
        35,
        "The object holds raw detector data (For Processing). Set the modality to send the film For Presentation.",
    ),
    Reason.TOO_SMALL: _Definition(
        Outcome.NOT_APPLICABLE, 40, "The shortest side has fewer than 128 pixels. Send the film at its original size."
    ),
    Reason.CONSTANT_PICTURE: _Definition(
        Outcome.NOT_APPLICABLE,
        45,
        "The film is blank: nearly all of its pixels have the same grey. Check the exposure and the window.",
    ),
    Reason.BODY_PART_UNKNOWN: _Definition(
        Outcome.NOT_APPLICABLE, 46, "The header names no body part. Check that the film shows a chest."
    ),
    Reason.VIEW_UNKNOWN: _Definition(
        Outcome.NOT_APPLICABLE,
        47,
        "The header names no view, or two that contradict each other. Check that the film is frontal.",
    ),
    Reason.BURNED_IN_ANNOTATION: _Definition(
        Outcome.NOT_APPLICABLE,
        48,
        "The header says that text is burnt into the film. Check that no text covers the lungs.",
    ),
    Reason.AGE_UNKNOWN: _Definition(
        Outcome.NOT_APPLICABLE,
        49,
        "The header gives no usable age. Check that the patient's age is in the range of the model.",
    ),
    Reason.AGE_OUT_OF_RANGE: _Definition(
        Outcome.NOT_APPLICABLE,
        50,
        "The patient's age is outside the range of the model. Read the film without it; if the age is wrong, "
        "correct it and send the film again.",
    ),
    Reason.INVERTED_PICTURE: _Definition(
        Outcome.NOT_APPLICABLE,
        51,
        "The film looks like a negative, with black bones on white lungs. Correct its Photometric Interpretation "
        "and send it again.",
    ),
    Reason.UNLIKE_TRAINING: _Definition(
        Outcome.NOT_APPLICABLE,
        52,
        "The picture is unlike the films that the model learned from. Check that it is a frontal chest, upright "
        "and not inverted, and read it without the model.",
    ),
    Reason.NO_PIXEL_DATA: _Definition(
        Outcome.BAD_INPUT, 60, "The object has no pixel data. Send the film again from the archive or the modality."
    ),
    Reason.UNSUPPORTED_TRANSFER_SYNTAX: _Definition(
        Outcome.BAD_INPUT,
        62,
        "The compression of the film is not supported. Set the sender to use a transfer syntax that "
        "CONFORMANCE.md lists.",
    ),
    Reason.UNSUPPORTED_PHOTOMETRIC: _Definition(
        Outcome.BAD_INPUT,
        62,
        "The pixel format (photometric interpretation, samples or bits) is missing, contradictory or not "
        "supported. Correct it, or send the film as MONOCHROME2.",
    ),
    Reason.TOO_LARGE: _Definition(
        Outcome.BAD_INPUT,
        63,
        "The file or its picture is larger than any radiograph. Check what was sent; if the file is damaged, send "
        "the film again.",
    ),
    Reason.DECODE_FAILED: _Definition(
        Outcome.BAD_INPUT, 64, "The pixel data are damaged or do not fit the header. Send the film again."
    ),
    Reason.NOT_DICOM: _Definition(
        Outcome.BAD_INPUT,
        55,
        "The file is neither a DICOM file nor a JPEG or PNG picture. Choose a file of one of these kinds.",
    ),
    Reason.UNREADABLE: _Definition(
        Outcome.BAD_INPUT, 56, "The file cannot be read to its end. Check the file and its permissions."
    ),
    Reason.WORKER_LOST: _Definition(
        Outcome.FAILED,
        80,
        "The worker ended during this film on every attempt. Read the worker's log, then re-run the film.",
    ),
    Reason.ORIGINAL_MISSING: _Definition(
        Outcome.FAILED,
        82,
        "Neither the stored original nor its film can be found. Restore the store, or send the film again.",
    ),
    Reason.PURGED: _Definition(
        Outcome.FAILED,
        79,
        "The site's rules of retention have removed the original and its film. Send the film again if it is to be "
        "judged again.",
    ),
    Reason.STORE_UNAVAILABLE: _Definition(
        Outcome.FAILED,
        85,
        "The store or the films' folder is missing, full or not writable, so the film waits. Mount it, free space "
        "or correct its permissions.",
    ),
    Reason.MODEL_UNAVAILABLE: _Definition(
        Outcome.FAILED, 84, "The model could not be loaded. Check it with 'auscult model list', then re-run the film."
    ),
    Reason.TIMED_OUT: _Definition(
        Outcome.FAILED, 81, "The film took longer than the time limit. Re-run it when the machine is less busy."
    ),
    Reason.INTERNAL_ERROR: _Definition(
        Outcome.FAILED,
        83,
        "An error occurred inside Auscult. Find it in the log by the id of this task, and report it.",
    ),
    Reason.IDENTITY_CONFLICT: _Definition(
        None,
        92,
        "Objects contradict each other about the patient or the study. List them with 'auscult conflict list' and "
        "decide which are right.",
    ),
    Reason.LISTENER_SILENT: _Definition(
        None,
        91,
        "A listener is silent and may hold films of this study. Start it, or retire it with 'auscult listener retire'.",
    ),
    Reason.MODEL_SUSPENDED: _Definition(
        None,
        93,
        "The model of this answer was suspended ('auscult model list' says why). Read the study without it, until "
        "'auscult model resume' or a re-run with another model settles the answer.",
    ),
    Reason.CORRECTION_PENDING: _Definition(
        None,
        90,
        "A newer version of a film is not judged yet, so the answer is that of the version before. Wait for the "
        "new result; 'auscult show' names the film.",
    ),
    Reason.WITHDRAWN: _Definition(
        None,
        92,
        "Films of this study were withdrawn by their source and do not count. Read the study without them; "
        "'auscult withdrawal list' has the note.",
    ),
    Reason.REJECTED_FOR_QUALITY: _Definition(
        None,
        0,
        "The film of this PNEUMONIA was rejected for quality, and no later film of the study is judged yet. Look at the "
        "film; its replacement will settle the answer.",
    ),
    Reason.ANSWER_LOWERED: _Definition(
        None, 0, "An earlier answer of this study was PNEUMONIA. Use 'auscult show' to see what changed it."
    ),
    **{reason: _Definition(None, 0, sentence) for reason, sentence in _REFUSALS.items()},
}


def sentence_of(code: str) -> str:
    """Return what a reason code means and what to do about it; also for a code on record that this release does not know."""
    return Reason(code).sentence if code in Reason.__members__ else "This release does not know the code."
