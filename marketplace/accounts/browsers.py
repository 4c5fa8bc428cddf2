"""What is kept of how a browser names itself: one of these names and one of these systems, so that people
know their sessions again. Versions, devices and whatever else stands there are not kept."""

from __future__ import annotations

from typing import Final

# In this order: most say that they are several of those below them, too.
_BROWSERS: Final = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("FxiOS/", "Firefox"),
    ("Firefox/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
    ("curl/", "curl"),
    ("python", "Python"),
)
_SYSTEMS: Final = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("CrOS", "ChromeOS"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
)


def browser_name(user_agent: str) -> str:
    """`Firefox, Linux` of such a header; "" of one that says nothing known."""
    known = (
        next((name for sign, name in names if sign in user_agent), None) for names in (_BROWSERS, _SYSTEMS)
    )
    return ", ".join(name for name in known if name is not None)
