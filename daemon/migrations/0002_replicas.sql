-- Several processes on one store: who may write findings, evidence that they share, why a finding was resolved.

-- One row a cluster. Writers of findings take its lock, so that they come one after the other; a write with an epoch
-- older than this one is refused. `revision` grows with every visible change.
CREATE TABLE fences (
    cluster TEXT NOT NULL PRIMARY KEY,
    epoch BIGINT NOT NULL,
    revision BIGINT NOT NULL
);

-- What a registry said, as JSON. It proves nothing: each process verifies it anew.
CREATE TABLE evidence (
    cluster TEXT NOT NULL,
    repository TEXT NOT NULL,
    digest TEXT NOT NULL,
    gathered_at BIGINT NOT NULL,
    size BIGINT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (cluster, repository, digest)
);

CREATE INDEX evidence_by_time ON evidence (cluster, gathered_at);

ALTER TABLE findings ADD COLUMN resolution TEXT NOT NULL DEFAULT '';

UPDATE meta SET value = '2' WHERE key = 'schema';
