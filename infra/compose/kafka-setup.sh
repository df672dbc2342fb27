#!/usr/bin/env bash
# Once, after the brokers are up: a SCRAM user for each process of Weir, and the ACLs that the topics table generates.
# Secrets: kafka_admin, kafka_<process> for each user. /acls/acls.txt: the arguments of kafka-acls.sh, one call a line.
set -euo pipefail
umask 077
client=/tmp/client.properties
cat > "$client" <<PROPERTIES
security.protocol=SASL_PLAINTEXT
sasl.mechanism=SCRAM-SHA-512
sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required username="admin" password="$(head -n 1 /run/secrets/kafka_admin)";
PROPERTIES
server=(--bootstrap-server kafka-1:9092,kafka-2:9092,kafka-3:9092)
for file in /run/secrets/kafka_user_*; do
  user=$(basename "$file"); user=${user#kafka_user_}
  /opt/kafka/bin/kafka-configs.sh "${server[@]}" --command-config "$client" --alter --entity-type users \
    --entity-name "$user" --add-config "SCRAM-SHA-512=[password=$(head -n 1 "$file")]"
done
while read -r line; do
  [ -z "$line" ] && continue
  # shellcheck disable=SC2086  # each line is a list of arguments without blanks inside
  /opt/kafka/bin/kafka-acls.sh "${server[@]}" --command-config "$client" $line
done < /acls/acls.txt
