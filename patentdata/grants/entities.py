"""The named characters of grants: what `&OHgr;` and the like stand for.

v2.5 documents take their entities from the ISO 8879 sets, which their DTD names but which no document holds. The
table of HTML was made from the same sets, so it is the start; it leaves out the Greek letters (isogrk1), the accented
ones (isogrk2) and the bold ones (isogrk4), and a few symbols whose names HTML changed. Case matters: ISO 8879 writes
the capital of a letter with a name of two letters as "OHgr", not "Ohgr".
"""

from __future__ import annotations

import html.entities
from collections.abc import Iterable, Iterator

_GREEK = {
    "a": "α", "b": "β", "g": "γ", "d": "δ", "e": "ε", "z": "ζ", "ee": "η", "th": "θ", "i": "ι", "k": "κ", "l": "λ",
    "m": "μ", "n": "ν", "x": "ξ", "o": "ο", "p": "π", "r": "ρ", "s": "σ", "t": "τ", "u": "υ", "ph": "φ", "kh": "χ",
    "ps": "ψ", "oh": "ω",
}  # fmt: skip
"""Name of a letter in isogrk1, without its "gr" → the letter."""
_ACUTE = {"a": "ά", "e": "έ", "ee": "ή", "i": "ί", "o": "ό", "u": "ύ", "oh": "ώ"}
_DIAERESIS = {"i": "ϊ", "u": "ϋ"}
_WITHOUT_CAPITAL = {"sfgr": "ς", "idiagr": "ΐ", "udiagr": "ΰ"}

_BOLD = {
    "alpha": "𝛂", "beta": "𝛃", "gamma": "𝛄", "gammad": "𝟋", "delta": "𝛅", "epsi": "𝛆", "epsis": "𝛆", "epsiv": "𝛜",
    "zeta": "𝛇", "eta": "𝛈", "theta": "𝛉", "thetas": "𝛉", "thetav": "𝛝", "iota": "𝛊", "kappa": "𝛋", "kappav": "𝛞",
    "lambda": "𝛌", "mu": "𝛍", "nu": "𝛎", "xi": "𝛏", "pi": "𝛑", "piv": "𝛡", "rho": "𝛒", "rhov": "𝛠", "sigma": "𝛔",
    "sigmav": "𝛓", "tau": "𝛕", "upsi": "𝛖", "phi": "𝛗", "phis": "𝛗", "phiv": "𝛟", "chi": "𝛘", "psi": "𝛙",
    "omega": "𝛚", "Gamma": "𝚪", "Gammad": "𝟊", "Delta": "𝚫", "Theta": "𝚯", "Lambda": "𝚲", "Xi": "𝚵", "Pi": "𝚷",
    "Sigma": "𝚺", "Upsi": "𝚼", "Phi": "𝚽", "Psi": "𝚿", "Omega": "𝛀",
}  # fmt: skip
"""Name in isogrk4, without its "b." → the letter."""

_RENAMED_IN_HTML = {
    "epsis": "ϵ", "phis": "φ", "thetas": "θ", "gcedil": "ģ", "ang90": "∟", "jnodot": "ȷ", "sbsol": "﹨", "vprime": "′",
    "lpargt": "⦠", "cupre": "≼", "gsdot": "⋗", "ldot": "⋖", "samalg": "∐", "darr2": "⇊", "larr2": "⇇", "rarr2": "⇉",
    "uarr2": "⇈", "lrarr2": "⇆", "rlarr2": "⇄", "lrhar2": "⇋", "rlhar2": "⇌", "dlarr": "↙", "drarr": "↘",
}  # fmt: skip
"""Symbols of isogrk3, isolat2, isotech and isoams that HTML names otherwise."""

PREDEFINED = frozenset({"amp", "lt", "gt", "quot", "apos"})
"""The entities that XML knows without a declaration."""


def _both_cases(letters: dict[str, str], ending: str) -> Iterator[tuple[str, str]]:
    """Name and letter, small and capital: ("ohgr", "ω") and ("OHgr", "Ω")."""
    for name, letter in letters.items():
        yield f"{name}{ending}", letter
        yield f"{name.upper()}{ending}", letter.upper()


def _named_characters() -> Iterable[tuple[str, str]]:
    yield from ((name[:-1], text) for name, text in html.entities.html5.items() if name.endswith(";"))
    yield from _both_cases(_GREEK, "gr")
    yield from _both_cases(_ACUTE, "acgr")
    yield from _both_cases(_DIAERESIS, "digr")
    yield from _WITHOUT_CAPITAL.items()
    yield from ((f"b.{name}", letter) for name, letter in _BOLD.items())
    yield from _RENAMED_IN_HTML.items()


CHARACTERS: dict[str, str] = dict(_named_characters())
"""Name of an entity → the text it stands for: the sets of ISO 8879, and those of HTML."""


def declaration_of(name: str) -> str:
    """The declaration of a named character, its text as references; those of markup are escaped twice, as XML asks.

    >>> declaration_of("OHgr")
    '<!ENTITY OHgr "&#937;">'
    """
    text = "".join(f"&#38;#{ord(char)};" if char in "<&" else f"&#{ord(char)};" for char in CHARACTERS[name])
    return f'<!ENTITY {name} "{text}">'
