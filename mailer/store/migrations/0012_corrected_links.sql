-- When a link was led elsewhere after sending: endpoints read its blast's table again.
ALTER TABLE link ADD COLUMN changed_at timestamptz;
CREATE INDEX link_changed ON link (changed_at) WHERE changed_at IS NOT NULL;  -- live
