-- name: all
-- Read where every link leads.
SELECT blast_id, index, url FROM link ORDER BY blast_id, index;

-- name: live
-- Read where the links of blasts lead that may still change: not ended, or lately.
SELECT l.blast_id, l.index, l.url
FROM link l
JOIN blast b ON b.id = l.blast_id
WHERE b.ended_at IS NULL OR b.ended_at > mailer_now() - interval '1 hour'
   OR b.id IN (SELECT blast_id FROM link
               WHERE changed_at > clock_timestamp() - interval '15 minutes')
ORDER BY l.blast_id, l.index;

-- name: of
-- Read where the links of one blast lead.
SELECT blast_id, index, url FROM link WHERE blast_id = :blast ORDER BY index;

-- name: correct
-- Lead a link elsewhere, and return where it led.
UPDATE link l SET url = :url, changed_at = clock_timestamp()
FROM (SELECT url FROM link WHERE blast_id = :blast AND index = :index FOR UPDATE) AS was
WHERE l.blast_id = :blast AND l.index = :index
RETURNING was.url;
