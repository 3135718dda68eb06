-- name: all
-- Read where every link leads.
SELECT blast_id, index, url FROM link ORDER BY blast_id, index;

-- name: live
-- Read where the links of blasts lead that may still change: not ended, or lately.
SELECT l.blast_id, l.index, l.url
FROM link l
JOIN blast b ON b.id = l.blast_id
WHERE b.ended_at IS NULL OR b.ended_at > mailer_now() - interval '1 hour'
ORDER BY l.blast_id, l.index;

-- name: of
-- Read where the links of one blast lead.
SELECT blast_id, index, url FROM link WHERE blast_id = :blast ORDER BY index;
