"""How faithful an extraction is to the known text, as one number.

    accuracy = 2 · M / (K + E)

K and E are the numbers of tokens (runs of letters and digits, lower-cased, Unicode NFC) of the known and
the extracted text, and M is the number of tokens in their matching blocks, in order (Ratcliff and
Obershelp). So lost words, invented words and a wrong reading order all cost; line breaks and punctuation do
not. Nothing extracted from a file that has text scores 0.
"""

import re
import unicodedata
from difflib import SequenceMatcher

_TOKEN = re.compile(r"\w+", re.UNICODE)


def tokens(text: str) -> list[str]:
    """The words and numbers of a text, lower-cased."""
    return _TOKEN.findall(unicodedata.normalize("NFC", text).lower())


def accuracy(known: str, extracted: str) -> float:
    """Score in 0..1; 1.0 if both texts are empty."""
    return SequenceMatcher(None, tokens(known), tokens(extracted), autojunk=False).ratio()
