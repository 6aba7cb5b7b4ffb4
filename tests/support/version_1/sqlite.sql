CREATE TABLE schema (
    version INTEGER NOT NULL,
    PRIMARY KEY (version)
);
CREATE TABLE owners (
    id VARCHAR(40) NOT NULL,
    name VARCHAR(100) NOT NULL,
    created DOUBLE NOT NULL,
    webhook_secret VARCHAR(80) NOT NULL,
    limits JSON NOT NULL,
    served DOUBLE NOT NULL,
    generation INTEGER NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (name)
);
CREATE TABLE tallies (
    name VARCHAR(40) NOT NULL,
    label VARCHAR(80) NOT NULL,
    number BIGINT NOT NULL,
    seconds DOUBLE NOT NULL,
    PRIMARY KEY (name, label)
);
CREATE TABLE keys (
    id VARCHAR(20) NOT NULL,
    owner VARCHAR(40) NOT NULL,
    name VARCHAR(100) NOT NULL,
    hash VARCHAR(64) NOT NULL,
    scopes VARCHAR(200) NOT NULL,
    created DOUBLE NOT NULL,
    revoked DOUBLE,
    used DOUBLE,
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
    duration DOUBLE,
    rate INTEGER NOT NULL,
    channels INTEGER NOT NULL,
    container VARCHAR(40) NOT NULL,
    codec VARCHAR(40) NOT NULL,
    title VARCHAR(400),
    artist VARCHAR(400),
    created DOUBLE NOT NULL,
    used DOUBLE NOT NULL,
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
    created DOUBLE NOT NULL,
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
    created DOUBLE NOT NULL,
    not_before DOUBLE NOT NULL,
    started DOUBLE,
    finished DOUBLE,
    expires DOUBLE,
    attempts INTEGER NOT NULL,
    strikes INTEGER NOT NULL,
    worker VARCHAR(80),
    token VARCHAR(40),
    lease DOUBLE,
    cancel BOOLEAN NOT NULL,
    stage VARCHAR(60),
    fraction DOUBLE NOT NULL,
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
    id INTEGER NOT NULL,
    owner VARCHAR(40) NOT NULL,
    at DOUBLE NOT NULL,
    minutes DOUBLE NOT NULL,
    PRIMARY KEY (id),
    FOREIGN KEY(owner) REFERENCES owners (id)
);
CREATE INDEX spent_by_owner ON spent (owner, at);
CREATE TABLE trained (
    id INTEGER NOT NULL,
    owner VARCHAR(40) NOT NULL,
    at DOUBLE NOT NULL,
    minutes DOUBLE NOT NULL,
    PRIMARY KEY (id),
    FOREIGN KEY(owner) REFERENCES owners (id)
);
CREATE INDEX trained_by_owner ON trained (owner, at);
CREATE TABLE idempotency (
    owner VARCHAR(40) NOT NULL,
    "key" VARCHAR(255) NOT NULL,
    fingerprint VARCHAR(64) NOT NULL,
    status INTEGER NOT NULL,
    answer JSON NOT NULL,
    created DOUBLE NOT NULL,
    PRIMARY KEY (owner, "key"),
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
    due DOUBLE NOT NULL,
    error TEXT,
    PRIMARY KEY (id),
    FOREIGN KEY(owner) REFERENCES owners (id)
);
CREATE INDEX deliveries_due ON deliveries (state, due);
CREATE TABLE events (
    job VARCHAR(40) NOT NULL,
    number INTEGER NOT NULL,
    at DOUBLE NOT NULL,
    type VARCHAR(12) NOT NULL,
    data JSON NOT NULL,
    PRIMARY KEY (job, number),
    FOREIGN KEY(job) REFERENCES jobs (id) ON DELETE CASCADE
);
