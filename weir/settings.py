"""Every setting of Weir: the environment variable `WEIR_<NAME>`, its default and what it is for.

Addresses left empty are derived from `WEIR_PORT_BASE`, so that a second Weir beside the first needs one setting.
`docs/reference/settings.md` is generated from this file; a test compares the two.
"""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from weir.errors import SettingsError
from weir.ports import PORT_BASE, Port

__all__ = ["Port", "Settings", "environment", "load"]


class Settings(BaseSettings):
    """Read once at a process's start and passed down; nothing reads the environment later."""

    model_config = SettingsConfigDict(env_prefix="WEIR_", extra="ignore", frozen=True)

    # -- where things are -----------------------------------------------------------------------------------------
    home: Path = Field(Path(".weir"), description="Folder of all state: server data, logs, blobs, secrets.")
    servers_dir: Path = Field(Path(".servers"), description="Folder of the downloaded servers and models.")
    java_home: Path | None = Field(None, description="A JDK of 21 or newer; found by itself when empty.")
    host: str = Field("127.0.0.1", description="Address that the gateway and the local servers listen on.")
    port_base: int = Field(PORT_BASE, ge=1024, le=65000, description="First of the 100 local ports Weir uses.")
    prefix: str = Field("", pattern=r"^[a-z0-9-]*$", description="Put before every topic, group, collection and "
                        "index name, so that two Weirs can share servers.")

    # -- servers --------------------------------------------------------------------------------------------------
    kafka: str = Field("", description="Bootstrap servers of Kafka, `host:port,...`.")
    kafka_security: str = Field("PLAINTEXT", description="PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL.")
    kafka_username: str = Field("", description="SASL user (SCRAM-SHA-512).")
    kafka_password_file: Path | None = Field(None, description="File that holds the SASL password.")
    kafka_ca_file: Path | None = Field(None, description="CA certificates for SSL.")
    schema_registry: str = Field("", description="URL of a Confluent schema registry, for publishers that use one.")
    kafka_partitions: int = Field(12, ge=1, le=10000, description="Partitions of the keyed topics when created.")
    kafka_replication: int = Field(1, ge=1, le=9, description="Replicas of each partition when created.")
    elasticsearch: str = Field("", description="URL of Elasticsearch, several separated by commas.")
    elasticsearch_username: str = Field("", description="User of Elasticsearch.")
    elasticsearch_password_file: Path | None = Field(None, description="File that holds that user's password.")
    elasticsearch_ca_file: Path | None = Field(None, description="CA certificates of Elasticsearch.")
    elasticsearch_shards: int = Field(1, ge=1, description="Primary shards of each keyword index when created.")
    elasticsearch_replicas: int = Field(0, ge=0, description="Replicas of each shard when created.")
    milvus: str = Field("", description="URI of Milvus, `http://host:port`.")
    milvus_username: str = Field("root", description="User of Milvus.")
    milvus_password_file: Path | None = Field(None, description="File that holds that user's password.")
    triton: str = Field("", description="gRPC address of Triton, `host:port`.")
    blobs: str = Field("", description="Object store of large records: a folder, or `s3://bucket/prefix`.")

    # -- identity -------------------------------------------------------------------------------------------------
    issuer: str = Field("local", description="`local`, or the URL of an OpenID Connect provider.")
    audience: str = Field("weir", description="Audience that a token must name.")
    token_algorithm: str = Field("EdDSA", description="The one signature algorithm that is accepted.")
    oidc_client_id: str = Field("", description="Client id for the page's sign-in with an OpenID Connect provider.")
    oidc_client_secret_file: Path | None = Field(None, description="File that holds the client secret.")
    groups_claim: str = Field("groups", description="Claim of the token that lists a person's groups.")
    admin_group: str = Field("weir-admins", description="Group whose members may operate Weir.")
    publisher_group: str = Field("publishers", description="Group that may publish where a workspace says nothing.")
    public_url: str = Field("", description="Address under which people reach the gateway, when behind a proxy.")

    # -- models ---------------------------------------------------------------------------------------------------
    model: str = Field("extractive", description="`extractive`, `openai:NAME` or `anthropic:NAME`.")
    model_url: str = Field("", description="Base URL of an OpenAI- or Anthropic-compatible server.")
    model_key_file: Path | None = Field(None, description="File that holds the API key of the model.")
    model_timeout: float = Field(60.0, gt=0, description="Seconds to wait for a language model's next token.")
    question_timeout: float = Field(10.0, gt=0, description="Seconds that a hosted model may take to read a question "
                                    "before it is searched; after that the rules read it.")
    model_price_in: float = Field(0.0, ge=0, description="Cost of a million tokens read by the model.")
    model_price_out: float = Field(0.0, ge=0, description="Cost of a million tokens written by the model.")
    embed_url: str = Field("", description="Base URL of the server of `openai:NAME` embedding models; empty: "
                           "OpenAI's own.")
    embed_key_file: Path | None = Field(None, description="File that holds the API key of that server.")
    embed_price: float = Field(0.0, ge=0, description="Cost of a million tokens read by an `openai:NAME` embedding "
                               "model; told before an index is built with one.")

    rerank_model: str = Field("", description="Cross-encoder on Triton that reads the best passages again where a "
                              "recipe asks for it (`rerank`); empty: none.")

    # -- limits ---------------------------------------------------------------------------------------------------
    max_document_bytes: int = Field(32 * 2**20, gt=0, description="Largest document accepted, in bytes.")
    max_document_chunks: int = Field(50_000, gt=0, description="Most chunks that one document may be cut into.")
    document_seconds: float = Field(60.0, gt=0, description="Seconds that a document may take to be read and cut.")
    document_memory: int = Field(1536 * 2**20, gt=0, description="Address space of a process that reads documents, in "
                                 "bytes, its libraries included.")
    document_readers: int = Field(2, gt=0, description="Documents that one worker reads at a time.")
    max_question_chars: int = Field(4000, gt=0, description="Longest question, in characters.")
    max_record_bytes: int = Field(512 * 1024, gt=1024, description="Records above this become claim checks.")
    questions_per_minute: int = Field(60, gt=0, description="Questions one person may ask in a minute.")
    questions_in_flight: int = Field(4, gt=0, description="Questions one person may have open at a time.")
    publishes_per_minute: int = Field(6000, gt=0, description="Documents one person may publish in a minute.")
    sign_ins_per_minute: int = Field(10, gt=0, description="Attempts to sign in from one address in a minute.")
    open_answers: int = Field(2000, gt=0, description="Answers one gateway streams at a time.")
    session_buffer: int = Field(256, gt=0, description="Frames waiting for a slow client before it is dropped.")
    answer_concurrency: int = Field(16, gt=0, description="Questions one answers worker works on at a time.")
    answer_timeout: float = Field(120.0, gt=0, description="Seconds until the watchdog ends an answer that has "
                                  "stopped moving.")
    answer_queue: float = Field(60.0, gt=0, description="Seconds a question may wait for a worker before it is refused "
                                "with a time to ask again.")
    vector_cache_mb: int = Field(64, ge=0, description="MiB of vectors of questions and sentences that each process "
                                 "which answers remembers; 0: none.")
    vector_cache_seconds: float = Field(3600.0, gt=0, description="Longest that such a vector is remembered.")
    kept_searches: int = Field(256, ge=0, description="Searches that an answers worker holds to be used again while "
                               "nothing in their workspace changes; 0 makes each anew.")
    kept_answers: int = Field(2000, ge=0, description="Answers that an answers worker holds for workspaces that let "
                              "them be given again.")
    views_lag: float = Field(2.0, gt=0, description="Seconds that the access view may be behind before answers wait.")
    views_wait: float = Field(10.0, gt=0, description="Seconds that an answer waits for the access view before it is "
                              "refused with a time to ask again.")
    engine_interval: float = Field(0.1, ge=0, le=2, description="Seconds that the engine of the agents keeps a "
                                   "transaction open; 0 commits after each batch.")
    drain_timeout: float = Field(5.0, gt=0, description="Seconds a worker gets to finish before it hands over.")

    # -- tasks: what is pinned when one begins --------------------------------------------------------------------
    approver_group: str = Field("approvers", description="Group that decides about what a task may not do alone.")
    approval_expires: int = Field(259_200, gt=0, le=5_184_000, description="Seconds until a proposal expires.")
    approve_own: bool = Field(False, description="Whether who asked for a task may decide about it, being in the "
                              "group.")
    task_steps: int = Field(30, gt=0, description="Most steps of a task before a person must add to its budget.")
    task_tokens: int = Field(200_000, gt=0, description="Most tokens of a task, read and written, likewise.")
    task_micros: int = Field(5_000_000, gt=0, description="Most money of a task, in millionths of the currency of the "
                             "prices, likewise.")
    task_seconds: int = Field(604_800, gt=0, le=5_184_000, description="Most wall time of a task in seconds, likewise; "
                              "at most 60 days.")
    planner_concurrency: int = Field(8, gt=0, description="Tasks that one planner plans at a time.")
    address_book: str = Field("", description="Addresses that goals may name by role: `purchasing=buying@example.com, "
                              "legal=law@example.com`. Empty, and with the local mail server: a few at localhost.")
    tasks_per_minute: int = Field(30, gt=0, description="Tasks one person may begin in a minute.")
    acts_per_minute: int = Field(600, gt=0, description="Times one person may steer tasks, or decide, in a minute.")

    # -- tools ----------------------------------------------------------------------------------------------------
    tools: str = Field("", description="Names of the tools that tasks may use, separated by commas; empty: all that "
                       "are configured.")
    tool_concurrency: int = Field(16, gt=0, description="Calls that one tools worker runs at a time, of those that "
                                  "read and of those that write.")
    smtp: str = Field("", description="SMTP server for mails that tasks send, `host:port`; empty: the local one, which "
                      "delivers to nobody and shows them on a page.")
    smtp_from: str = Field("", description="Address that they come from; empty: `weir@localhost`.")
    smtp_tls: Literal["none", "starttls", "tls"] = Field("none", description="How the connection is encrypted.")
    smtp_username: str = Field("", description="User of the SMTP server.")
    smtp_password_file: Path | None = Field(None, description="File that holds that user's password.")
    mailbox: str = Field("", description="Where every mail sent can be found again: `maildir:PATH` or "
                         "`imaps://user@host/Folder`. Without one nobody can tell whether a mail went out when its "
                         "worker died, and a person is asked.")
    mailbox_password_file: Path | None = Field(None, description="File that holds the mailbox's password.")
    http_hosts: str = Field("", description="Hosts that tasks may call, separated by commas: `api.example.com`, "
                            "`*.example.com`, `host:port`. Empty: none.")
    database: str = Field("", description="Database that tasks may read: `sqlite:///PATH` or "
                          "`postgresql://user@host/name`. Give it a user who may only read.")
    database_password_file: Path | None = Field(None, description="File that holds the database's password.")
    database_rows: int = Field(200, gt=0, le=10_000, description="Most rows of one query.")
    database_timeout: float = Field(10.0, gt=0, le=300, description="Seconds that one query may take.")
    mcp_servers: Path | None = Field(None, description="TOML file of the MCP servers whose tools tasks may use.")

    # -- processes ------------------------------------------------------------------------------------------------
    process: str = Field("", description="Name of this process in logs and metrics; set by the supervisor.")
    instance: str = Field("0", description="Number of this process among its equals.")
    index_version: str = Field("", description="The one index version that the embeddings worker and the sinks work "
                               "for; empty: all that exist.")
    log_level: str = Field("INFO", description="DEBUG, INFO, WARNING or ERROR.")
    metrics_port: int = Field(0, ge=0, description="Port of this process's Prometheus metrics; 0 serves none.")
    otlp_endpoint: str = Field("", description="OTLP/HTTP collector for traces; empty keeps them in the logs only.")
    kafka_heap: str = Field("512m", description="Heap of the local Kafka broker.")
    elasticsearch_heap: str = Field("512m", description="Heap of the local Elasticsearch node.")
    build_texts: int = Field(1, ge=0, description="Texts of an index version that is being built that are embedded "
                             "at a time while people ask; 0: no limit, where documents have processors of their own.")
    triton_threads: int = Field(0, ge=0, description="Threads of each local embedder instance; 0 takes every core.")

    def port(self, which: Port) -> int:
        return self.port_base + which

    @cached_property
    def kafka_address(self) -> str:
        return self.kafka or f"{self.host}:{self.port(Port.KAFKA)}"

    @cached_property
    def elasticsearch_urls(self) -> list[str]:
        return (self.elasticsearch or f"http://{self.host}:{self.port(Port.ELASTICSEARCH)}").split(",")

    @cached_property
    def milvus_uri(self) -> str:
        return self.milvus or f"http://{self.host}:{self.port(Port.MILVUS)}"

    @cached_property
    def milvus_password(self) -> SecretStr:
        """Password of `milvus_username`: from its file, or the one that the local server was given.

        Raises:
            SettingsError: the file is set and cannot be read.
        """
        local = self.home / "secrets" / "milvus"
        path = self.milvus_password_file or (local if not self.milvus and local.exists() else None)
        return self.secret(path) or SecretStr("")

    @cached_property
    def triton_address(self) -> str:
        return self.triton or f"{self.host}:{self.port(Port.TRITON_GRPC)}"

    @cached_property
    def smtp_address(self) -> str:
        return self.smtp or f"{self.host}:{self.port(Port.MAIL)}"

    @cached_property
    def addresses(self) -> dict[str, str]:
        """The address book: addresses by role, in small letters."""
        if not self.address_book and not self.smtp:
            return {role: f"{role}@localhost" for role in ("purchasing", "finance", "legal", "sales", "support")}
        pairs = (entry.partition("=") for entry in self.address_book.split(",") if "=" in entry)
        return {role.strip().lower(): address.strip() for role, _, address in pairs}

    @cached_property
    def smtp_sender(self) -> str:
        return self.smtp_from or "weir@localhost"

    @cached_property
    def maildir(self) -> Path:
        """Where the local mail server keeps what it was given."""
        return self.home.absolute() / "mail"

    @cached_property
    def mailbox_url(self) -> str:
        return self.mailbox or ("" if self.smtp else f"maildir:{self.maildir}")

    @cached_property
    def gateway_url(self) -> str:
        return self.public_url or f"http://{self.host}:{self.port(Port.GATEWAY)}"

    @cached_property
    def blobs_url(self) -> str:
        return self.blobs or str((self.home / "blobs").absolute())

    def secret(self, path: Path | None) -> SecretStr | None:
        """The first line of a secret's file, or None where no file is set.

        Raises:
            SettingsError: the file is set and cannot be read.
        """
        if path is None:
            return None
        try:
            return SecretStr(path.read_text().splitlines()[0].strip())
        except (OSError, IndexError) as e:
            raise SettingsError(f"cannot read the secret in {path}: {e}. Write it there as one line.") from e


def load() -> Settings:
    """Settings from the environment.

    Raises:
        SettingsError: a value is missing or wrong; the message names the variable.
    """
    try:
        return Settings()
    except ValidationError as e:
        lines = [f"WEIR_{'_'.join(map(str, x['loc'])).upper()}: {x['msg']} (got {x['input']!r})" for x in e.errors()]
        raise SettingsError("wrong settings:\n  " + "\n  ".join(lines)) from e


def environment(settings: Settings) -> dict[str, str]:
    """The `WEIR_*` variables that give a child process exactly these settings."""
    child = {k: v for k, v in os.environ.items() if not k.startswith("WEIR_")}
    for name, value in settings.model_dump().items():
        if value not in (None, ""):
            child[f"WEIR_{name.upper()}"] = str(value)
    return child
