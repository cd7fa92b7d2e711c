#!/bin/sh
# Makes users and databases in an empty Postgres (psql 15 or newer), by an administrator. Passwords come from the environment
# and stand on no command line. The application's user owns none of its tables, so that row security holds for it.
set -eu
: "${CREW_APP_PASSWORD:?}" "${CREW_OWNER_PASSWORD:?}"
psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --dbname "${POSTGRES_DB:-postgres}" --username "${POSTGRES_USER:-postgres}" <<'SQL'
\getenv app CREW_APP_PASSWORD
\getenv owner CREW_OWNER_PASSWORD
CREATE ROLE crew_owner LOGIN NOSUPERUSER NOBYPASSRLS PASSWORD :'owner';
CREATE ROLE crew_app LOGIN NOSUPERUSER NOBYPASSRLS PASSWORD :'app';
CREATE DATABASE crew OWNER crew_owner;
CREATE DATABASE crew_dagster OWNER crew_app;
REVOKE CONNECT ON DATABASE crew, crew_dagster FROM PUBLIC;
GRANT CONNECT ON DATABASE crew TO crew_app;
SQL
