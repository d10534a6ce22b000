"""Statements of OAuth tokens and clients."""

from functools import cache
from typing import Any

from slack_agents.storage.base import OAuthClientRow, OAuthTokenRow
from sqlalchemy import delete, select
from sqlalchemy.sql import bindparam

from slack_agents_sqlalchemy.dialects import DialectAdapter, Upsert
from slack_agents_sqlalchemy.identifiers import digest
from slack_agents_sqlalchemy.models import OAuthClient, OAuthToken
from slack_agents_sqlalchemy.queries import arguments

oauth_clients, oauth_tokens = OAuthClient.__table__, OAuthToken.__table__

type Parameters = dict[str, Any]

GET_TOKEN = select(
    oauth_tokens.c.access_token,
    oauth_tokens.c.refresh_token_enc,
    oauth_tokens.c.token_type,
    oauth_tokens.c.scopes,
    oauth_tokens.c.expires_at,
    oauth_tokens.c.created_at,
    oauth_tokens.c.updated_at,
).where(oauth_tokens.c.owner_digest == bindparam("owner_digest"))
DELETE_TOKEN = delete(oauth_tokens).where(oauth_tokens.c.owner_digest == bindparam("owner_digest"))

GET_CLIENT = select(
    oauth_clients.c.client_id,
    oauth_clients.c.client_secret,
    oauth_clients.c.metadata_json,
    oauth_clients.c.authorization_server,
    oauth_clients.c.created_at,
    oauth_clients.c.updated_at,
).where(oauth_clients.c.owner_digest == bindparam("owner_digest"))
DELETE_CLIENT = delete(oauth_clients).where(
    oauth_clients.c.owner_digest == bindparam("owner_digest")
)


@cache
def put_token(adapter: DialectAdapter) -> Upsert:
    """Build the operation that stores a user's tokens; the first ``created_at`` stays."""
    replaced = (
        "access_token",
        "refresh_token_enc",
        "token_type",
        "scopes",
        "expires_at",
        "updated_at",
    )
    return adapter.upsert(oauth_tokens, replaced)


@cache
def put_client(adapter: DialectAdapter) -> Upsert:
    """Build the operation that stores a client; the first ``created_at`` stays."""
    replaced = (
        "client_id",
        "client_secret",
        "metadata_json",
        "authorization_server",
        "updated_at",
    )
    return adapter.upsert(oauth_clients, replaced)


def token_owner(user_id: str, server_id: str) -> Parameters:
    """Find the tokens of a user for a server."""
    return {
        "owner_digest": digest(
            arguments.text("user_id", user_id), arguments.text("server_id", server_id)
        )
    }


def token(user_id: str, server_id: str, row: OAuthTokenRow) -> Parameters:
    """Make the row of a user's tokens."""
    return {
        **token_owner(user_id, server_id),
        "user_id": user_id,
        "server_id": server_id,
        "access_token": arguments.text("access_token", row.access_token),
        "refresh_token_enc": arguments.optional_text("refresh_token_enc", row.refresh_token_enc),
        "token_type": arguments.text("token_type", row.token_type),
        "scopes": arguments.text("scopes", row.scopes),
        "expires_at": arguments.optional_integer("expires_at", row.expires_at),
        "created_at": arguments.integer("created_at", row.created_at),
        "updated_at": arguments.integer("updated_at", row.updated_at),
    }


def client_owner(server_id: str, redirect_uri: str) -> Parameters:
    """Find the client registered with a server for a redirect URI."""
    return {
        "owner_digest": digest(
            arguments.text("server_id", server_id), arguments.text("redirect_uri", redirect_uri)
        )
    }


def client(server_id: str, redirect_uri: str, row: OAuthClientRow) -> Parameters:
    """Make the row of a registered client."""
    return {
        **client_owner(server_id, redirect_uri),
        "server_id": server_id,
        "redirect_uri": redirect_uri,
        "client_id": arguments.text("client_id", row.client_id),
        "client_secret": arguments.optional_text("client_secret", row.client_secret),
        "metadata_json": arguments.text("metadata_json", row.metadata_json),
        "authorization_server": arguments.text("authorization_server", row.authorization_server),
        "created_at": arguments.integer("created_at", row.created_at),
        "updated_at": arguments.integer("updated_at", row.updated_at),
    }
