"""An OpenID Connect provider on loopback, with its own keys and a clock that a test turns."""

from __future__ import annotations

from typing import Any

import jwt
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from weir.oidc import challenge

ALGORITHM = "RS256"


class Identities:
    """A provider that speaks discovery, JWKS and the token endpoint."""

    def __init__(self, now: int = 1_800_000_000_000) -> None:
        self.now = now
        self.keys: dict[str, Any] = {"one": rsa.generate_private_key(65537, 2048)}
        self.fetches = 0
        self.up = True
        self.codes: dict[str, str] = {}
        """Challenge by code."""
        self.nonces: dict[str, str] = {}
        app = web.Application()
        app.add_routes([web.get("/.well-known/openid-configuration", self._discovery), web.get("/keys", self._jwks),
                        web.post("/token", self._token), web.get("/authorize", self._authorize)])
        self.server = TestServer(app)

    @property
    def issuer(self) -> str:
        return str(self.server.make_url("/")).rstrip("/")

    def clock(self) -> int:
        return self.now

    def token(self, kid: str = "one", **changes: Any) -> str:
        claims = {"iss": self.issuer, "aud": "weir", "sub": "ann", "exp": self.now / 1000 + 60, "roles": ["legal"],
                  **changes}
        return jwt.encode(claims, self.keys[kid], algorithm=ALGORITHM, headers={"kid": kid})

    async def _discovery(self, _: web.Request) -> web.Response:
        if not self.up:
            raise web.HTTPServiceUnavailable
        return web.json_response({"issuer": self.issuer, "authorization_endpoint": f"{self.issuer}/authorize",
                                  "token_endpoint": f"{self.issuer}/token", "jwks_uri": f"{self.issuer}/keys"})

    async def _jwks(self, _: web.Request) -> web.Response:
        self.fetches += 1
        if not self.up:
            raise web.HTTPServiceUnavailable
        entries = [{**jwt.algorithms.RSAAlgorithm.to_jwk(k.public_key(), as_dict=True), "kid": kid, "use": "sig",
                    "alg": ALGORITHM} for kid, k in self.keys.items()]
        odd = {**jwt.algorithms.ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()).public_key(),
                                                   as_dict=True), "kid": "odd"}
        return web.json_response({"keys": [*entries, odd]})

    async def _authorize(self, request: web.Request) -> web.Response:
        """Signs Ann in without asking and sends her back."""
        asked, code = request.query, f"code-{len(self.nonces)}"
        self.codes[code], self.nonces[code] = asked["code_challenge"], asked["nonce"]
        raise web.HTTPFound(f"{asked['redirect_uri']}?code={code}&state={asked['state']}")

    async def _token(self, request: web.Request) -> web.Response:
        form = await request.post()
        if self.codes.pop(str(form["code"]), None) != challenge(str(form["code_verifier"])):
            return web.json_response({"error": "invalid_grant", "error_description": "the code is not yours"},
                                     status=400)
        return web.json_response({"id_token": self.token(aud=str(form["client_id"]),
                                                           nonce=self.nonces.get(str(form["code"]), ""))})
