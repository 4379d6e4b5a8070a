#!/bin/sh
# The limit: what the stores' own tools can do where nothing has to be kept apart. PostgreSQL writes Redis' protocol, a
# row a session; CSV is the only form of COPY that lets a carriage return through, so its quotes are taken out again.
# Sessions that are written or logged out meanwhile are lost or come back. pipe.sh URL TABLE REDIS-PORT PREFIX
set -eu
sed "s/TABLE/$2/; s/PREFIX/$4/" <<'SQL' |
COPY (
  SELECT E'*5\r\n$3\r\nSET\r\n$' || octet_length(name) || E'\r\n' || name
    || E'\r\n$' || octet_length(value) || E'\r\n' || value
    || E'\r\n$4\r\nPXAT\r\n$' || octet_length(at) || E'\r\n' || at || E'\r'
  FROM (
    SELECT 'PREFIX' || sid AS name, sess::text AS value,
      (extract(epoch from expire::timestamptz) * 1000)::bigint::text AS at
    FROM "TABLE" WHERE expire > now()
  ) AS session
) TO STDOUT WITH (FORMAT csv, QUOTE E'\x01', ESCAPE E'\x01', DELIMITER E'\x02');
SQL
  psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 "$1" | tr -d '\001' | redis-cli -p "$3" --pipe
