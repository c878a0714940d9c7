"""Trust and damaged pictures: what a decoder made up is not answered for, what was predicted from it is doubtful.

One more trust signal, `damage`, that comes with the picture and not from the network: 1 for a picture that is damaged
itself, 0.5 for one that was predicted from a damaged one. A whole picture has none.
"""

from __future__ import annotations

from dataclasses import replace

from physedge_runtime.frame import Damage, Frame
from physedge_runtime.results import Result, TrustState

DAMAGE = "damage"
"""Name of the signal."""

_WORDS = {
    Damage.PICTURE: (1.0, TrustState.VOID, "the picture is damaged: parts of it could not be decoded"),
    Damage.BEFORE: (0.5, TrustState.DOUBTFUL, "the picture was predicted from a damaged one"),
}


def judge_damage(result: Result, frame: Frame) -> Result:
    """The answer to a frame with its damage in the trust; as it is where the frame is whole."""
    if frame.damage is Damage.NONE:
        return result
    value, state, words = _WORDS[frame.damage]
    trust = result.trust
    worse = TrustState.VOID if TrustState.VOID in (state, trust.state) else state
    reason = f"{trust.reason}; {words}" if trust.reason else words
    return replace(result, trust=replace(trust, state=worse, reason=reason, signals={**trust.signals, DAMAGE: value}))
