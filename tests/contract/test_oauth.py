"""OAuth tokens by user and server, and OAuth clients by server and redirect URI."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from slack_agents.storage.base import BaseStorageProvider, OAuthClientRow, OAuthTokenRow

from tests.contract.samples import oauth_client, oauth_token

REDIRECT = "https://agent.example/callback"


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"refresh_token_enc": None, "expires_at": None},
        {"refresh_token_enc": "", "token_type": "", "scopes": "", "access_token": ""},
        {"expires_at": 0, "created_at": 0, "updated_at": 0},
        {"expires_at": -1, "created_at": -2, "updated_at": -3},
        {"expires_at": 2**40, "created_at": 2**63 - 1, "updated_at": -(2**63)},
        {"access_token": "a" * 100_000, "refresh_token_enc": "é" * 100_000},
    ],
    ids=["plain", "without", "empty", "zero", "negative", "64 bits", "long"],
)
async def test_a_token_is_read_back_as_it_was_put(
    storage: BaseStorageProvider, changes: dict[str, Any]
) -> None:
    put = oauth_token(**changes)
    await storage.put_oauth_token("U1", "server", put)
    read = await storage.get_oauth_token("U1", "server")
    assert type(read) is OAuthTokenRow
    assert read == put


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"client_secret": None},
        {
            "client_id": "",
            "client_secret": "",
            "metadata_json": "",
            "authorization_server": "",
        },
        {"created_at": 0, "updated_at": 0},
        {"created_at": 2**63 - 1, "updated_at": -(2**63)},
        {"metadata_json": '{ "b": 1.0,\n "a": "\\u00e9", "b": 2 }'},
        {"metadata_json": "x" * 100_000, "client_secret": "é" * 100_000},
    ],
    ids=[
        "plain",
        "without",
        "empty",
        "zero",
        "64 bits",
        "JSON as it was written",
        "long",
    ],
)
async def test_a_client_is_read_back_as_it_was_put(
    storage: BaseStorageProvider, changes: dict[str, Any]
) -> None:
    put = oauth_client(**changes)
    await storage.put_oauth_client("server", REDIRECT, put)
    read = await storage.get_oauth_client("server", REDIRECT)
    assert type(read) is OAuthClientRow
    assert read == put


async def test_an_absent_token_is_none(storage: BaseStorageProvider) -> None:
    await storage.put_oauth_token("U1", "server", oauth_token())
    assert await storage.get_oauth_token("U2", "server") is None
    assert await storage.get_oauth_token("U1", "other") is None
    assert await storage.get_oauth_token("server", "U1") is None


async def test_an_absent_client_is_none(storage: BaseStorageProvider) -> None:
    await storage.put_oauth_client("server", REDIRECT, oauth_client())
    assert await storage.get_oauth_client("other", REDIRECT) is None
    assert await storage.get_oauth_client("server", REDIRECT + "/") is None


async def test_a_token_update_keeps_the_first_creation_time_only(
    storage: BaseStorageProvider,
) -> None:
    await storage.put_oauth_token("U1", "server", oauth_token(created_at=1))
    update = OAuthTokenRow(
        access_token="access-2",
        refresh_token_enc="refresh-2",
        token_type="DPoP",
        scopes="admin",
        expires_at=2,
        created_at=3,
        updated_at=4,
    )
    await storage.put_oauth_token("U1", "server", update)
    assert await storage.get_oauth_token("U1", "server") == replace(update, created_at=1)
    bare = replace(update, refresh_token_enc=None, expires_at=None)
    await storage.put_oauth_token("U1", "server", bare)
    assert await storage.get_oauth_token("U1", "server") == replace(bare, created_at=1)


async def test_a_client_update_keeps_the_first_creation_time_only(
    storage: BaseStorageProvider,
) -> None:
    await storage.put_oauth_client("server", REDIRECT, oauth_client(created_at=1))
    update = OAuthClientRow(
        client_id="client-2",
        client_secret="secret-2",
        metadata_json="{}",
        authorization_server="https://other.example",
        created_at=3,
        updated_at=4,
    )
    await storage.put_oauth_client("server", REDIRECT, update)
    assert await storage.get_oauth_client("server", REDIRECT) == replace(update, created_at=1)
    bare = replace(update, client_secret=None)
    await storage.put_oauth_client("server", REDIRECT, bare)
    assert await storage.get_oauth_client("server", REDIRECT) == replace(bare, created_at=1)


async def test_putting_a_row_does_not_change_it(storage: BaseStorageProvider) -> None:
    token, client = oauth_token(), oauth_client()
    for _ in range(2):
        await storage.put_oauth_token("U1", "server", token)
        await storage.put_oauth_client("server", REDIRECT, client)
    assert token == oauth_token()
    assert client == oauth_client()


async def test_a_deleted_token_is_absent_and_the_others_stay(
    storage: BaseStorageProvider,
) -> None:
    for user_id, server_id in [("U1", "s1"), ("U1", "s2"), ("U2", "s1")]:
        await storage.put_oauth_token(user_id, server_id, oauth_token())
    await storage.delete_oauth_token("U1", "s1")
    assert await storage.get_oauth_token("U1", "s1") is None
    assert await storage.get_oauth_token("U1", "s2") == oauth_token()
    assert await storage.get_oauth_token("U2", "s1") == oauth_token()


async def test_a_deleted_client_is_absent_and_the_others_stay(
    storage: BaseStorageProvider,
) -> None:
    for server_id, redirect_uri in [("s1", "r1"), ("s1", "r2"), ("s2", "r1")]:
        await storage.put_oauth_client(server_id, redirect_uri, oauth_client())
    await storage.delete_oauth_client("s1", "r1")
    assert await storage.get_oauth_client("s1", "r1") is None
    assert await storage.get_oauth_client("s1", "r2") == oauth_client()
    assert await storage.get_oauth_client("s2", "r1") == oauth_client()


async def test_a_row_put_after_a_deletion_has_its_own_creation_time(
    storage: BaseStorageProvider,
) -> None:
    await storage.put_oauth_token("U1", "server", oauth_token(created_at=1))
    await storage.delete_oauth_token("U1", "server")
    await storage.put_oauth_token("U1", "server", oauth_token(created_at=2))
    assert await storage.get_oauth_token("U1", "server") == oauth_token(created_at=2)
    await storage.put_oauth_client("server", REDIRECT, oauth_client(created_at=1))
    await storage.delete_oauth_client("server", REDIRECT)
    await storage.put_oauth_client("server", REDIRECT, oauth_client(created_at=2))
    assert await storage.get_oauth_client("server", REDIRECT) == oauth_client(created_at=2)


async def test_deleting_an_absent_row_is_no_error(storage: BaseStorageProvider) -> None:
    await storage.delete_oauth_token("U1", "server")
    await storage.delete_oauth_client("server", REDIRECT)
