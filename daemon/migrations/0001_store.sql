-- One text for SQLite and PostgreSQL: TEXT, BIGINT and BYTEA only; times are milliseconds since 1970 in UTC.

CREATE TABLE meta (
    key TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);

INSERT INTO meta (key, value) VALUES ('schema', '1');

CREATE TABLE findings (
    cluster TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    subject_key TEXT NOT NULL,
    subject TEXT NOT NULL,
    namespace TEXT NOT NULL,
    source TEXT NOT NULL,
    code TEXT NOT NULL,
    check_name TEXT NOT NULL,
    severity TEXT NOT NULL,
    severity_rank BIGINT NOT NULL,
    verdict TEXT NOT NULL,
    verdict_rank BIGINT NOT NULL,
    cause TEXT NOT NULL,
    effect TEXT NOT NULL,
    message TEXT NOT NULL,
    search_text TEXT NOT NULL,
    body TEXT NOT NULL,
    state TEXT NOT NULL,
    stale_cause TEXT NOT NULL,
    first_seen BIGINT NOT NULL,
    last_seen BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    resolved_at BIGINT,
    reopened BIGINT NOT NULL,
    PRIMARY KEY (cluster, fingerprint)
);

CREATE INDEX findings_by_subject ON findings (cluster, subject_key);
CREATE INDEX findings_by_rank ON findings (cluster, state, verdict_rank, severity_rank);
CREATE INDEX findings_by_resolution ON findings (cluster, resolved_at);
CREATE INDEX findings_by_first_seen ON findings (cluster, first_seen);

CREATE TABLE decisions (
    cluster TEXT NOT NULL,
    id TEXT NOT NULL,
    decided_at BIGINT NOT NULL,
    uid TEXT NOT NULL,
    door TEXT NOT NULL,
    operation TEXT NOT NULL,
    kind TEXT NOT NULL,
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    allowed BIGINT NOT NULL,
    mode TEXT NOT NULL,
    codes TEXT NOT NULL,
    digests TEXT NOT NULL,
    PRIMARY KEY (cluster, id)
);

CREATE INDEX decisions_by_time ON decisions (cluster, decided_at);

CREATE TABLE scans (
    cluster TEXT NOT NULL,
    scanner TEXT NOT NULL,
    succeeded_at BIGINT NOT NULL,
    PRIMARY KEY (cluster, scanner)
);
