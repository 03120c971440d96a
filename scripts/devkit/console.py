"""Numbered steps on a terminal, in colour only where somebody looks."""

import os
import sys

_COLOURED = sys.stdout.isatty() and "NO_COLOR" not in os.environ
_STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "cyan": "36"}


def style(text, name):
    return f"\x1b[{_STYLES[name]}m{text}\x1b[0m" if _COLOURED else text


def step(number, total, title):
    print(f"\n{style(f'[{number}/{total}]', 'cyan')} {style(title, 'bold')}", flush=True)


def line(label, text):
    print(f"      {style(f'{label:<14}', 'dim')}{text}", flush=True)


def command(text):
    print(f"      {style('$', 'dim')} {text}", flush=True)


def note(text):
    print(f"      {text}", flush=True)
