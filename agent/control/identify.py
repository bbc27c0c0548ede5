"""The command `identify`: the green LED blinks, so that a person finds the unit among others."""

import threading
from pathlib import Path

from agent.errors import RequestRefused

LEDS = Path("/sys/class/leds")
NAMES = ("ACT", "led0")
"""As the kernels of Raspberry Pi OS call it: since 2022, and before."""
BLINKS_S = 60.0

_blinking = threading.Lock()


def identify(leds: Path = LEDS, for_s: float = BLINKS_S) -> str:
    """Starts blinking for `for_s` seconds and returns at once; then restores the LED. Raises RequestRefused."""
    led = next((leds / name for name in NAMES if (leds / name / "trigger").exists()), None)
    if led is None:
        raise RequestRefused("no_led", f"this machine has no LED that can blink: {leds / NAMES[0]} is missing")
    if not _blinking.acquire(blocking=False):
        return f"the LED {led.name} blinks already"
    trigger = led / "trigger"
    try:
        before = active_trigger(trigger.read_text())
        trigger.write_text("timer")
    except OSError as error:
        _blinking.release()
        raise RequestRefused("no_led", f"{trigger}: {error.strerror}") from error

    def end() -> None:
        try:
            trigger.write_text(before)
        finally:
            _blinking.release()

    timer = threading.Timer(for_s, end)
    timer.daemon = True
    timer.start()
    return f"the LED {led.name} blinks for {for_s:g} s"


def active_trigger(triggers: str) -> str:
    """The LED's trigger now: the kernel lists all and puts brackets around it."""
    return next((word.strip("[]") for word in triggers.split() if word.startswith("[")), "none")
