-- name: enter
-- Say that a process runs, and with which settings.
INSERT INTO process (id, kind, host, boot, pid, fingerprint)
VALUES (:id, :kind, :host, :boot, :pid, :fingerprint)
ON CONFLICT (id) DO UPDATE SET seen_at = clock_timestamp(), stopped_at = NULL;

-- name: beat
-- Say that a process is alive.
UPDATE process SET seen_at = clock_timestamp() WHERE id = :id;

-- name: leave
-- Say that a process has stopped.
UPDATE process SET stopped_at = clock_timestamp() WHERE id = :id AND stopped_at IS NULL;

-- name: alive
-- List the processes that were seen lately.
SELECT id, kind, host, pid, fingerprint, started_at, seen_at FROM process
WHERE stopped_at IS NULL AND seen_at > clock_timestamp() - interval '30 seconds'
ORDER BY kind, started_at;

-- name: missing
-- List the workers of a machine that stopped being seen and left chunks behind.
SELECT DISTINCT p.id, p.host, p.boot, p.pid FROM process p JOIN chunk c ON c.owner = p.id
WHERE c.state = 'leased' AND p.host = :host
ORDER BY p.id;

-- name: changes
-- Read about whom something changed since a moment, a little overlap included.
SELECT c.id, c.address, c.subscriber_id FROM change c
WHERE c.at > clock_timestamp() - :back::interval
ORDER BY c.id;

-- name: connections
-- How many connections does the database allow, and how many are open.
SELECT current_setting('max_connections')::integer AS limit,
       (SELECT count(*)::integer FROM pg_stat_activity
        WHERE backend_type = 'client backend') AS used;
