"""Step 5 of the flow: whether the model may judge a film, and what its answer must say of it.

The rules stand in ``rules``; here they are asked, and the site's policies say what becomes of a film that one of them
speaks against. Nothing but stored facts is looked at, so a re-run judges by the policies of its own day.
"""

from __future__ import annotations

from dataclasses import dataclass

from dicom_io.errors import PolicyError
from dicom_io.facts import GateFacts
from dicom_io.reasons import Reason
from dicom_io.rules import RULES, AgeRange, Policy, Stage, Subject

__all__ = ["DEFAULT_POLICIES", "AgeRange", "GateFacts", "Policies", "Stage", "Subject", "Verdict", "judge"]

_DEFAULTS = {rule.reason: rule.policy for rule in RULES}
_CHANGEABLE = {rule.reason for rule in RULES if rule.is_changeable}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate says.

    Attributes
    ----------
    reason : Reason or None
        Why the film may not be judged; None when it may.
    flags : tuple of Reason
        What speaks against the film that is judged all the same; empty when it is refused.
    """

    reason: Reason | None
    flags: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class Policies:
    """What a site has decided about the rules of the gate.

    Attributes
    ----------
    chosen : tuple of (Reason, Policy)
        Where the site differs from the rules' own policies.
    """

    chosen: tuple[tuple[Reason, Policy], ...] = ()

    def of(self, reason: Reason) -> Policy:
        """The policy for a rule: the site's, else the rule's own."""
        return dict(self.chosen).get(reason, _DEFAULTS[reason])

    @classmethod
    def parse(cls, text: str) -> Policies:
        """Read policies as they stand in the settings.

        Parameters
        ----------
        text : str
            "AGE_OUT_OF_RANGE=flag, BURNED_IN_ANNOTATION=accept"; nothing at all is the rules' own policies.

        Returns
        -------
        Policies
            What the text says.

        Raises
        ------
        PolicyError
            With a sentence that names what is wrong: no pair, a code that is no rule, a rule that cannot be changed, a
            word that is no policy, a rule named twice.
        """
        chosen: dict[Reason, Policy] = {}
        for pair in filter(None, (part.strip() for part in text.split(","))):
            code, equals, word = (part.strip() for part in pair.partition("="))
            if not equals:
                raise PolicyError(f"{pair} is no policy: write the reason, '=' and {_one_of(Policy)}")
            reason = _reason(code.upper())
            if reason in chosen:
                raise PolicyError(f"{reason} is named twice")
            chosen[reason] = _policy(reason, word.lower())
        return cls(tuple(chosen.items()))


#: The rules' own policies.
DEFAULT_POLICIES = Policies()


def judge(subject: Subject, stage: Stage = Stage.HEADER, policies: Policies = DEFAULT_POLICIES) -> Verdict:
    """Ask the rules of a stage in order.

    Parameters
    ----------
    subject : Subject
        What is known of the film.
    stage : Stage
        Which rules are asked.
    policies : Policies
        What the site has decided.

    Returns
    -------
    Verdict
        The first rule that refuses the film, else the flags its answer must carry.
    """
    flags: list[Reason] = []
    for rule in RULES:
        if rule.stage is not stage or policies.of(rule.reason) is Policy.ACCEPT or not rule.applies(subject):
            continue
        if policies.of(rule.reason) is Policy.REFUSE:
            return Verdict(rule.reason)
        flags.append(rule.reason)
    return Verdict(None, tuple(flags))


def _reason(code: str) -> Reason:
    if code not in _DEFAULTS:
        raise PolicyError(f"{code} is no rule of the gate: see the table in CONFORMANCE.md")
    if code not in _CHANGEABLE:
        raise PolicyError(f"the policy of {code} cannot be changed: without it there is no film to judge")
    return Reason(code)


def _policy(reason: Reason, word: str) -> Policy:
    if word not in set(Policy):
        raise PolicyError(f"{word or 'nothing'} is no policy for {reason}: say {_one_of(Policy)}")
    return Policy(word)


def _one_of(words: type[Policy]) -> str:
    *others, last = words
    return f"{', '.join(others)} or {last}"
