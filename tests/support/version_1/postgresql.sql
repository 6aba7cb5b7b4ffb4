CREATE TABLE schema (
    version SERIAL NOT NULL,
    PRIMARY KEY (version)
);
CREATE TABLE owners (
    id VARCHAR(40) NOT NULL,
    name VARCHAR(100) NOT NULL,
    created DOUBLE PRECISION NOT NULL,
    webhook_secret VARCHAR(80) NOT NULL,
    limits JSON NOT NULL,
    served DOUBLE PRECISION NOT NULL,
    generation INTEGER NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (name)
);
CREATE TABLE tallies (
    name VARCHAR(40) NOT NULL,
    label VARCHAR(80) NOT NULL,
    number BIGINT NOT NULL,
    seconds DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (name, label)
);
CREATE TABLE keys (
    id VARCHAR(20) NOT NULL,
    owner VARCHAR(40) NOT NULL,
    name VARCHAR(100) NOT NULL,
    hash VARCHAR(64) NOT NULL,
    scopes VARCHAR(200) NOT NULL,
    created DOUBLE PRECISION NOT NULL,
    revoked DOUBLE PRECISION,
    used DOUBLE PRECISION,
    PRIMARY KEY (id),
    FOREIGN KEY(owner) REFERENCES owners (id)
);
CREATE TABLE songs (
    id VARCHAR(40) NOT NULL,
    owner VARCHAR(40) NOT NULL,
    name VARCHAR(255) NOT NULL,
    path VARCHAR(400) NOT NULL,
    bytes BIGINT NOT NULL,
    sha256 VARCHAR(64) NOT NULL,
    duration DOUBLE PRECISION,
    rate INTEGER NOT NULL,
    channels INTEGER NOT NULL,
    container VARCHAR(40) NOT NULL,
    codec VARCHAR(40) NOT NULL,
    title VARCHAR(400),
    artist VARCHAR(400),
    created DOUBLE PRECISION NOT NULL,
    used DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (id),
    FOREIGN KEY(owner) REFERENCES owners (id)
);
CREATE INDEX songs_of_owner ON songs (owner, bytes);
CREATE INDEX songs_by_owner ON songs (owner, created, id);
CREATE TABLE voices (
    id VARCHAR(40) NOT NULL,
    owner VARCHAR(40) NOT NULL,
    name VARCHAR(64) NOT NULL,
    folded VARCHAR(200) NOT NULL,
    state VARCHAR(12) NOT NULL,
    consent VARCHAR(12) NOT NULL,
    path VARCHAR(400) NOT NULL,
    bytes BIGINT NOT NULL,
    manifest JSON,
    findings JSON NOT NULL,
    job VARCHAR(40),
    created DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (owner, folded),
    FOREIGN KEY(owner) REFERENCES owners (id)
);
CREATE INDEX voices_by_owner ON voices (owner, created, id);
CREATE TABLE jobs (
    id VARCHAR(40) NOT NULL,
    owner VARCHAR(40) NOT NULL,
    kind VARCHAR(12) NOT NULL,
    state VARCHAR(12) NOT NULL,
    priority INTEGER NOT NULL,
    name VARCHAR(400) NOT NULL,
    request JSON NOT NULL,
    song VARCHAR(40),
    voice VARCHAR(40),
    bytes BIGINT NOT NULL,
    created DOUBLE PRECISION NOT NULL,
    not_before DOUBLE PRECISION NOT NULL,
    started DOUBLE PRECISION,
    finished DOUBLE PRECISION,
    expires DOUBLE PRECISION,
    attempts INTEGER NOT NULL,
    strikes INTEGER NOT NULL,
    worker VARCHAR(80),
    token VARCHAR(40),
    lease DOUBLE PRECISION,
    cancel BOOLEAN NOT NULL,
    stage VARCHAR(60),
    fraction DOUBLE PRECISION NOT NULL,
    events INTEGER NOT NULL,
    result JSON,
    error JSON,
    webhook TEXT,
    PRIMARY KEY (id),
    FOREIGN KEY(owner) REFERENCES owners (id)
);
CREATE INDEX jobs_by_owner ON jobs (owner, created, id);
CREATE INDEX jobs_of_owner ON jobs (owner, state, bytes);
CREATE INDEX jobs_by_state ON jobs (state, priority, created);
CREATE TABLE spent (
    id SERIAL NOT NULL,
    owner VARCHAR(40) NOT NULL,
    at DOUBLE PRECISION NOT NULL,
    minutes DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (id),
    FOREIGN KEY(owner) REFERENCES owners (id)
);
CREATE INDEX spent_by_owner ON spent (owner, at);
CREATE TABLE trained (
    id SERIAL NOT NULL,
    owner VARCHAR(40) NOT NULL,
    at DOUBLE PRECISION NOT NULL,
    minutes DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (id),
    FOREIGN KEY(owner) REFERENCES owners (id)
);
CREATE INDEX trained_by_owner ON trained (owner, at);
CREATE TABLE idempotency (
    owner VARCHAR(40) NOT NULL,
    key VARCHAR(255) NOT NULL,
    fingerprint VARCHAR(64) NOT NULL,
    status INTEGER NOT NULL,
    answer JSON NOT NULL,
    created DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (owner, key),
    FOREIGN KEY(owner) REFERENCES owners (id)
);
CREATE TABLE deliveries (
    id VARCHAR(40) NOT NULL,
    owner VARCHAR(40) NOT NULL,
    job VARCHAR(40) NOT NULL,
    url TEXT NOT NULL,
    body TEXT NOT NULL,
    state VARCHAR(12) NOT NULL,
    tries INTEGER NOT NULL,
    due DOUBLE PRECISION NOT NULL,
    error TEXT,
    PRIMARY KEY (id),
    FOREIGN KEY(owner) REFERENCES owners (id)
);
CREATE INDEX deliveries_due ON deliveries (state, due);
CREATE TABLE events (
    job VARCHAR(40) NOT NULL,
    number INTEGER NOT NULL,
    at DOUBLE PRECISION NOT NULL,
    type VARCHAR(12) NOT NULL,
    data JSON NOT NULL,
    PRIMARY KEY (job, number),
    FOREIGN KEY(job) REFERENCES jobs (id) ON DELETE CASCADE
);
