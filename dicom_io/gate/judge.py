"""Step 5 of the flow: whether the model may judge a film, and which flags its answer carries.

The rules of ``rules`` are asked here, and the policies of the site decide what a rule that applies means for the film.
Only stored facts and the film are used, so a re-run needs no original and judges by the policies in force when it runs.
"""

from __future__ import annotations

from dataclasses import dataclass

from dicom_io.errors import PolicyError
from dicom_io.gate.rules import RULES, AgeRange, GateInput, Policy, RuleStage
from dicom_io.header.facts import GateFacts
from dicom_io.reasons import Reason

__all__ = [
    "DEFAULT_POLICIES",
    "AgeRange",
    "GateFacts",
    "GateInput",
    "Policies",
    "RuleSaid",
    "RuleStage",
    "Verdict",
    "each_rule",
    "judge",
]

_DEFAULTS = {rule.reason: rule.policy for rule in RULES}
_CHANGEABLE = {rule.reason for rule in RULES if rule.is_changeable}


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer of the gate.

    Attributes
    ----------
    reason : Reason or None
        Why the film is not judged; None if it may be.
    flags : tuple of Reason
        The rules that apply to a film that is judged all the same; empty if it is refused.
    """

    reason: Reason | None
    flags: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class Policies:
    """The policies of a site for the rules of the gate.

    Attributes
    ----------
    chosen : tuple of (Reason, Policy)
        The policies that differ from the defaults of the rules.
    """

    chosen: tuple[tuple[Reason, Policy], ...] = ()

    def of(self, reason: Reason) -> Policy:
        """The policy for a rule: that of the site, else the default of the rule."""
        return dict(self.chosen).get(reason, _DEFAULTS[reason])

    @classmethod
    def parse(cls, text: str) -> Policies:
        """Read the text of the setting.

        Parameters
        ----------
        text : str
            "AGE_OUT_OF_RANGE=flag, BURNED_IN_ANNOTATION=accept"; an empty text means the defaults.

        Returns
        -------
        Policies
            The policies.

        Raises
        ------
        PolicyError
            With a sentence that names the mistake: a part that is not a pair, an unknown rule, a rule that cannot be
            changed, an unknown policy, or a rule that is named twice.
        """
        chosen: dict[Reason, Policy] = {}
        for pair in filter(None, (part.strip() for part in text.split(","))):
            code, equals, word = (part.strip() for part in pair.partition("="))
            if not equals:
                raise PolicyError(f"{pair} is not a policy: write the reason, '=' and {_one_of(Policy)}")
            reason = _reason(code.upper())
            if reason in chosen:
                raise PolicyError(f"{reason} is named twice")
            chosen[reason] = _policy(reason, word.lower())
        return cls(tuple(chosen.items()))


#: The defaults of the rules.
DEFAULT_POLICIES = Policies()


def judge(given: GateInput, stage: RuleStage = RuleStage.HEADER, policies: Policies = DEFAULT_POLICIES) -> Verdict:
    """Ask the rules of a stage in order.

    Parameters
    ----------
    given : GateInput
        What is known about the film.
    stage : RuleStage
        The rules to ask.
    policies : Policies
        The policies of the site.

    Returns
    -------
    Verdict
        The first rule that refuses the film, else the flags of its answer.
    """
    flags: list[Reason] = []
    for rule in RULES:
        if rule.stage is not stage or policies.of(rule.reason) is Policy.ACCEPT or not rule.applies(given):
            continue
        if policies.of(rule.reason) is Policy.REFUSE:
            return Verdict(rule.reason)
        flags.append(rule.reason)
    return Verdict(None, tuple(flags))


@dataclass(frozen=True, slots=True)
class RuleSaid:
    """One rule, asked by itself.

    Attributes
    ----------
    reason : Reason
        The name of the rule.
    stage : RuleStage
        When it is asked.
    policy : Policy
        The policy of the site for it.
    applies : bool or None
        Whether it applies to the film; None where its input is not known.
    """

    reason: Reason
    stage: RuleStage
    policy: Policy
    applies: bool | None


def each_rule(given: GateInput, policies: Policies = DEFAULT_POLICIES) -> tuple[RuleSaid, ...]:
    """Ask every rule by itself, whatever the others say, to tell how a verdict came about.

    Parameters
    ----------
    given : GateInput
        What is known about the film; rules of the picture and of the network say None where their input is missing.
    policies : Policies
        The policies of the site.

    Returns
    -------
    tuple of RuleSaid
        In the order in which ``judge`` asks.
    """
    known = {
        RuleStage.HEADER: True,
        RuleStage.PICTURE: given.statistics is not None,
        RuleStage.NETWORK: given.unlikeness is not None,
    }
    return tuple(
        RuleSaid(rule.reason, rule.stage, policies.of(rule.reason), rule.applies(given) if known[rule.stage] else None)
        for rule in RULES
    )


def _reason(code: str) -> Reason:
    if code not in _DEFAULTS:
        raise PolicyError(f"{code} is not a rule of the gate: see the table in CONFORMANCE.md")
    if code not in _CHANGEABLE:
        raise PolicyError(f"the policy of {code} cannot be changed: without it there is no film to judge")
    return Reason(code)


def _policy(reason: Reason, word: str) -> Policy:
    if word not in set(Policy):
        raise PolicyError(f"{word or 'nothing'} is not a policy for {reason}: write {_one_of(Policy)}")
    return Policy(word)


def _one_of(words: type[Policy]) -> str:
    *others, last = words
    return f"{', '.join(others)} or {last}"
