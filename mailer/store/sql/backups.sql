-- name: create
-- Write the statement that makes an empty database.
SELECT format('CREATE DATABASE %I TEMPLATE template0', :name::text);

-- name: drop
-- Write the statement that removes a database, whoever is in it.
SELECT format('DROP DATABASE IF EXISTS %I WITH (FORCE)', :name::text);

-- name: rename
-- Write the statement that gives a database another name.
SELECT format('ALTER DATABASE %I RENAME TO %I', :before::text, :after::text);

-- name: clear
-- Send everybody out of a database.
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = :name AND pid <> pg_backend_pid()
ORDER BY pid;

-- name: alone
-- Let one restore work at a time; the end of its session gives it back.
SELECT pg_try_advisory_lock(7258463920152);

-- name: about
-- Say which server this is, and how large the database.
SELECT current_setting('server_version') AS version,
       current_database()::text AS name,
       pg_database_size(current_database()) AS size_bytes;

-- name: forget
-- Processes of another life do not run here.
UPDATE process SET stopped_at = clock_timestamp() WHERE stopped_at IS NULL;

-- name: skip
-- Leave out the numbers of blasts that were made after the backup: mail that is out
-- carries them.
SELECT setval(
    pg_get_serial_sequence('blast', 'id'), COALESCE(max(id), 0) + :gap::bigint
)
FROM blast;
