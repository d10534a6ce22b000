"""Queries of OAuth tokens and clients."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from slack_agents.storage.base import OAuthClientRow, OAuthTokenRow
from sqlalchemy import delete, select
from sqlalchemy.sql import bindparam

from slack_agents_sqlalchemy.dialects import DialectAdapter, Upsert
from slack_agents_sqlalchemy.identifiers import digest
from slack_agents_sqlalchemy.models import OAuthClient, OAuthToken
from slack_agents_sqlalchemy.queries import arguments

type Rows = Sequence[Sequence[Any]]
type Parameters = dict[str, Any]

# What an update replaces: all but the first `created_at`.
_TOKEN = ("access_token", "refresh_token_enc", "token_type", "scopes", "expires_at", "updated_at")
_CLIENT = ("client_id", "client_secret", "metadata_json", "authorization_server", "updated_at")

_IS_TOKEN = OAuthToken.owner_digest == bindparam("owner_digest")
GET_TOKEN = select(
    OAuthToken.access_token,
    OAuthToken.refresh_token_enc,
    OAuthToken.token_type,
    OAuthToken.scopes,
    OAuthToken.expires_at,
    OAuthToken.created_at,
    OAuthToken.updated_at,
).where(_IS_TOKEN)
DELETE_TOKEN = delete(OAuthToken).where(_IS_TOKEN)


def token_owner(user_id: str, server_id: str) -> Parameters:
    """Return the parameters that select the tokens of a user for a server."""
    return {"owner_digest": digest(user_id=user_id, server_id=server_id)}


def to_token(rows: Rows) -> OAuthTokenRow | None:
    """Return the tokens of a row of ``GET_TOKEN``, or None."""
    if not rows:
        return None
    [row] = rows
    access_token, refresh_token_enc, token_type, scopes, expires_at, created_at, updated_at = row
    return OAuthTokenRow(
        access_token=access_token,
        refresh_token_enc=refresh_token_enc,
        token_type=token_type,
        scopes=scopes,
        expires_at=expires_at,
        created_at=created_at,
        updated_at=updated_at,
    )


@cache
def upsert_token(adapter: DialectAdapter) -> Upsert:
    """Return the operation that stores a user's tokens."""
    return adapter.upsert(OAuthToken.__table__, _TOKEN)


def token(user_id: str, server_id: str, row: OAuthTokenRow) -> Parameters:
    """Return the row of a user's tokens."""
    return {
        **token_owner(user_id, server_id),
        "user_id": user_id,
        "server_id": server_id,
        **arguments.texts(
            access_token=row.access_token, token_type=row.token_type, scopes=row.scopes
        ),
        "refresh_token_enc": arguments.optional_text("refresh_token_enc", row.refresh_token_enc),
        "expires_at": arguments.optional_integer("expires_at", row.expires_at),
        "created_at": arguments.integer("created_at", row.created_at),
        "updated_at": arguments.integer("updated_at", row.updated_at),
    }


_IS_CLIENT = OAuthClient.owner_digest == bindparam("owner_digest")
GET_CLIENT = select(
    OAuthClient.client_id,
    OAuthClient.client_secret,
    OAuthClient.metadata_json,
    OAuthClient.authorization_server,
    OAuthClient.created_at,
    OAuthClient.updated_at,
).where(_IS_CLIENT)
DELETE_CLIENT = delete(OAuthClient).where(_IS_CLIENT)


def client_owner(server_id: str, redirect_uri: str) -> Parameters:
    """Return the parameters that select the client of a server for a redirect URI."""
    return {"owner_digest": digest(server_id=server_id, redirect_uri=redirect_uri)}


def to_client(rows: Rows) -> OAuthClientRow | None:
    """Return the client of a row of ``GET_CLIENT``, or None."""
    if not rows:
        return None
    [row] = rows
    client_id, client_secret, metadata_json, authorization_server, created_at, updated_at = row
    return OAuthClientRow(
        client_id=client_id,
        client_secret=client_secret,
        metadata_json=metadata_json,
        authorization_server=authorization_server,
        created_at=created_at,
        updated_at=updated_at,
    )


@cache
def upsert_client(adapter: DialectAdapter) -> Upsert:
    """Return the operation that stores a client."""
    return adapter.upsert(OAuthClient.__table__, _CLIENT)


def client(server_id: str, redirect_uri: str, row: OAuthClientRow) -> Parameters:
    """Return the row of a registered client."""
    return {
        **client_owner(server_id, redirect_uri),
        "server_id": server_id,
        "redirect_uri": redirect_uri,
        **arguments.texts(
            client_id=row.client_id,
            metadata_json=row.metadata_json,
            authorization_server=row.authorization_server,
        ),
        "client_secret": arguments.optional_text("client_secret", row.client_secret),
        "created_at": arguments.integer("created_at", row.created_at),
        "updated_at": arguments.integer("updated_at", row.updated_at),
    }
