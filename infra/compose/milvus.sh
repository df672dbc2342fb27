#!/usr/bin/env bash
# Starts Milvus with the credentials of its object store and its own root password, read from secrets.
set -euo pipefail
MINIO_ACCESS_KEY_ID=$(head -n 1 /run/secrets/minio_user)
MINIO_SECRET_ACCESS_KEY=$(head -n 1 /run/secrets/minio_password)
COMMON_SECURITY_DEFAULTROOTPASSWORD=$(head -n 1 /run/secrets/milvus_password)
export MINIO_ACCESS_KEY_ID MINIO_SECRET_ACCESS_KEY COMMON_SECURITY_DEFAULTROOTPASSWORD
exec milvus run standalone
