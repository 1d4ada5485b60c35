"""What goes through pipes arrives as it was: errors, and credentials that are renewed."""

from __future__ import annotations

import json

from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from fearless.data.pipe import Keys, encode, frozen, retold, told
from fearless.data.position import Gap
from fearless.errors import FearlessError, NotAuthorised, Refused


def again(error: Exception) -> FearlessError:
    return retold(json.loads(encode(told(error))))


def test_an_error_is_told_again_as_what_it_was() -> None:
    for error in (Refused("no\u2028t"), Gap("trimmed"), FearlessError("one")):
        made = again(error)
        assert type(made) is type(error)
        assert str(made) == str(error)


def test_an_answer_of_aws_is_one_line() -> None:
    error = ClientError(
        {"Error": {"Code": "AccessDeniedException", "Message": "you may\nnot"}}, "PutItem"
    )
    made = again(error)
    assert isinstance(made, NotAuthorised)
    assert "you may not" in str(made)


def test_a_defect_says_where() -> None:
    try:
        json.loads("{")
    except ValueError as error:
        text = str(again(error))
    assert text.startswith("error: a worker failed: JSONDecodeError: Expecting")
    assert "decoder.py:" in text


def test_a_class_nobody_knows_is_an_error_all_the_same() -> None:
    for name in ("os:system", "fearless.errors:explain", "fearless.nothing:Error", "builtins:eval"):
        made = retold({"class": name, "text": "it failed"})
        assert type(made) is FearlessError
        assert made.args == ("it failed",)


def test_credentials_are_frozen_and_renewed() -> None:
    given = {"source": Credentials("A", "B", "C"), "target": Credentials("D", "E")}
    values = json.loads(encode(frozen(given)))
    assert values == {"source": ["A", "B", "C"], "target": ["D", "E", None]}
    keys = Keys(*values["source"])
    assert keys.get_frozen_credentials() == ("A", "B", "C")
    keys.renew("F", "G", None)
    assert (keys.access_key, keys.secret_key, keys.token) == ("F", "G", None)
