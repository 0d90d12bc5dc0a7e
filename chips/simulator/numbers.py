"""Telephone numbers, jids and LIDs as the WhatsApp side sees them (providers contract §1.11)."""

import re
import zlib

USER_SUFFIX = "@s.whatsapp.net"
GROUP_SUFFIX = "@g.us"
LID_SUFFIX = "@lid"

_NOT_DIGIT = re.compile(r"\D")


def digits_of(text: str) -> str:
    """The digits of a number or of the user part of a jid; a device part (`:12`) is dropped."""
    return _NOT_DIGIT.sub("", text.partition("@")[0].partition(":")[0])


def jid_for(number: str) -> str:
    """Where Evolution sends to. From area code 31 on the ninth digit is removed when 7, 8 or 9 follows it."""
    if "@" in number:
        return number
    digits = digits_of(number)
    loses_ninth = len(digits) == 13 and digits.startswith("55") and digits[4] == "9"
    if loses_ninth and int(digits[2:4]) >= 31 and digits[5] in "789":
        digits = digits[:4] + digits[5:]
    return digits + USER_SUFFIX


def person_of(number: str) -> str:
    """Canonical digits of the person behind a number or jid: Brazilian mobiles always with the ninth digit."""
    digits = digits_of(number)
    if len(digits) == 12 and digits.startswith("55") and digits[4] in "6789":
        return f"{digits[:4]}9{digits[4:]}"
    return digits


def lid_for(person: str) -> str:
    """A stable LID for a person; says nothing about the telephone, as the real ones."""
    return f"{10**14 + zlib.crc32(person.encode()) * 20_001}{LID_SUFFIX}"
