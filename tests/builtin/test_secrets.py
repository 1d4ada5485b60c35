"""Secrets are found where they are kept, and never shown when they are not."""

from __future__ import annotations

import uuid

import pytest

from fearless.builtin.secrets import EnvSecrets, SsmSecrets
from fearless.errors import FearlessError, NotAuthorised
from fearless.interfaces import SecretStore
from fearless.testing.emulator import Emulator
from tests.builtin.clouds import EmulatorCloud


def test_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    store = EnvSecrets()
    assert isinstance(store, SecretStore)
    monkeypatch.setenv("QUAY_PASSWORD", "hush")
    assert store.get("QUAY_PASSWORD") == "hush"
    for unset in ("", None):
        if unset is None:
            monkeypatch.delenv("QUAY_PASSWORD")
        else:
            monkeypatch.setenv("QUAY_PASSWORD", unset)
        with pytest.raises(FearlessError, match="variable QUAY_PASSWORD is not set"):
            store.get("QUAY_PASSWORD")


def test_parameter_store_decrypts(cloud: EmulatorCloud) -> None:
    prefix = f"/{uuid.uuid4().hex[:8]}/"
    cloud.client("ssm").put_parameter(Name=f"{prefix}quay", Type="SecureString", Value="hush")
    store = SsmSecrets(cloud, prefix)
    assert isinstance(store, SecretStore)
    assert store.get("quay") == "hush"
    with pytest.raises(FearlessError) as caught:
        store.get("quey")
    assert f"SSM has no parameter '{prefix}quey' in us-east-1" in str(caught.value)
    cloud.client("ssm").delete_parameter(Name=f"{prefix}quay")


def test_a_secret_we_may_not_read_is_not_authorised(emulator: Emulator) -> None:
    nobody = emulator.client(
        "ssm", aws_access_key_id="AKIANOBODYNOBODYNOBO", aws_secret_access_key="x"
    )
    cloud = EmulatorCloud(emulator)
    cloud.client = lambda service: nobody  # type: ignore[method-assign]
    with pytest.raises(NotAuthorised, match="reading the secret 'quay': "):
        SsmSecrets(cloud).get("quay")
