import argparse

import pytest

from keras_griffin.commands.shared.options import mark_defaults, split_given

pytestmark = pytest.mark.any_backend


@pytest.fixture
def parser():
    parser = argparse.ArgumentParser(prog="p")
    parser.add_argument("files", nargs="*")
    parser.add_argument("--width", type=int, default=3, help="of it (default: %(default)s)")
    parser.add_argument("--text", default="a b", help="to say (default: %(default)r)")
    parser.add_argument("--wide", action="store_true")
    either = parser.add_mutually_exclusive_group()
    either.add_argument("--minutes", type=float, default=30.0)
    either.add_argument("--steps", type=int)
    mark_defaults(parser)
    return parser


DEFAULTS = {"files": [], "width": 3, "text": "a b", "wide": False, "minutes": 30.0, "steps": None}


def test_nothing_given_is_all_defaults(parser):
    assert split_given(parser.parse_args([])) == (DEFAULTS, {})


def test_what_is_given_is_told_even_where_it_is_the_default(parser):
    everything, given = split_given(parser.parse_args(["--width", "3", "--wide", "--steps", "4", "f", "g"]))
    assert given == {"width": 3, "wide": True, "steps": 4, "files": ["f", "g"]}
    assert everything == {**DEFAULTS, **given}


def test_the_help_shows_the_defaults(parser):
    assert "(default: 3)" in parser.format_help() and "(default: 'a b')" in parser.format_help()
