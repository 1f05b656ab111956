"""How many examples Hypothesis tries: few in the short form of the suite, and 20 times as many in the long form.

The long form is chosen as that of all tests: with ``-m "slow or not slow"``, which takes the place of ``-m "not slow"``
in pyproject.toml.
"""

from __future__ import annotations

from typing import Final

from hypothesis import HealthCheck, settings

SHORT_FORM: Final = "not slow"
_DEFAULT: Final = 30
_LONG: Final = "long"
_SHORT: Final = "short"
_TIMES: Final = 20


def _profile(few: int, times: int) -> settings:
    """Machines are shared and noisy: no test is judged by how long it takes."""
    return settings(max_examples=few * times, deadline=None, suppress_health_check=list(HealthCheck))


def load_profile(markers: str) -> None:
    """Take the number of examples of the form that `markers` means, the expression after ``-m``."""
    settings.register_profile(_SHORT, _profile(_DEFAULT, 1))
    settings.register_profile(_LONG, _profile(_DEFAULT, _TIMES))
    settings.load_profile(_SHORT if markers == SHORT_FORM else _LONG)


def examples(few: int) -> settings:
    """So many examples in the short form; for tests whose examples take long, or which need many."""
    return _profile(few, _TIMES if settings.get_current_profile_name() == _LONG else 1)
