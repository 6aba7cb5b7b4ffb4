INSERT INTO schema (version) VALUES (1);
INSERT INTO owners (id, name, created, webhook_secret, limits, served, generation) VALUES
    ('own_ada', 'ada', 1760000000.5, 'whsec_YWRh', '{"jobs_queued": 7}', 1760000300.0, 1),
    ('own_bea', 'bea', 1760000001.5, 'whsec_YmVh', '{}', 0.0, 0);
INSERT INTO keys (id, owner, name, hash, scopes, created, revoked, used) VALUES
    ('k1', 'own_ada', 'backend', 'f32ee8e5dc96f3ef71bd4cad4c8e7f6a1e5b8a7b6c2a8f94c5b8a9c7d1e2f3a4', 'read make',
     1760000002.0, NULL, 1760000300.0);
INSERT INTO songs (id, owner, name, path, bytes, sha256, duration, rate, channels, container, codec, title, artist,
    created, used) VALUES
    ('song_1', 'own_ada', 'song.wav', 'own_ada/songs/song_1', 44, 'aa', 2.0, 44100, 2, 'wav', 'pcm_s16le', 'Öl', NULL,
     1760000010.0, 1760000010.0);
INSERT INTO voices (id, owner, name, folded, state, consent, path, bytes, manifest, findings, job, created) VALUES
    ('voice_1', 'own_ada', 'Nova', 'nova', 'ready', 'self', 'own_ada/voices/voice_1', 9, '{"name": "Nova"}', '[]',
     NULL, 1760000011.0);
INSERT INTO jobs (id, owner, kind, state, priority, name, request, song, voice, bytes, created, not_before, started,
    finished, expires, attempts, strikes, worker, token, lease, cancel, stage, fraction, events, result, error, webhook)
    VALUES
    ('cover_done', 'own_ada', 'cover', 'done', 0, 'song', '{}', 'song_1', 'voice_1', 100, 1760000020.0, 1760000020.0,
     1760000021.0, 1760000099.0, 9960000000.0, 1, 0, NULL, NULL, NULL, FALSE, NULL, 1.0, 1, '{"files": {}}', NULL,
     'https://example.org/hook'),
    ('cover_batch', 'own_ada', 'cover', 'queued', 1, 'song', '{}', 'song_1', 'voice_1', 0, 1760000030.0, 1760000030.0,
     NULL, NULL, NULL, 0, 0, NULL, NULL, NULL, FALSE, NULL, 0.0, 1, NULL, NULL, NULL),
    ('cover_next', 'own_ada', 'cover', 'queued', 0, 'song', '{}', 'song_1', 'voice_1', 0, 1760000040.0, 1760000040.0,
     NULL, NULL, NULL, 0, 0, NULL, NULL, NULL, FALSE, NULL, 0.0, 1, NULL, NULL, NULL),
    ('cover_lost', 'own_ada', 'cover', 'running', 0, 'song', '{}', 'song_1', 'voice_1', 0, 1760000025.0, 1760000025.0,
     1760000026.0, NULL, NULL, 1, 1, 'w1', 't_1', 0.0, FALSE, 'separate', 0.4, 1, NULL, NULL, NULL),
    ('separation_bea', 'own_bea', 'separation', 'queued', 0, 'song', '{}', NULL, NULL, 0, 1760000050.0, 1760000050.0,
     NULL, NULL, NULL, 0, 0, NULL, NULL, NULL, FALSE, NULL, 0.0, 1, NULL, NULL, NULL),
    ('training_paused', 'own_ada', 'training', 'paused', 0, 'Nova', '{}', NULL, 'voice_1', 5, 1760000060.0,
     1760000060.0, 1760000061.0, NULL, NULL, 1, 0, NULL, NULL, NULL, FALSE, 'train', 0.2, 1, '{"step": 10}', NULL,
     NULL),
    ('training_next', 'own_bea', 'training', 'queued', 0, 'Nova', '{}', NULL, NULL, 0, 1760000070.0, 1760000070.0,
     NULL, NULL, NULL, 0, 0, NULL, NULL, NULL, FALSE, NULL, 0.0, 1, NULL, NULL, NULL);
INSERT INTO events (job, number, at, type, data) VALUES
    ('cover_done', 1, 1760000099.0, 'state', '{"state": "done"}'),
    ('cover_next', 1, 1760000040.0, 'state', '{"state": "queued"}');
INSERT INTO spent (owner, at, minutes) VALUES ('own_ada', 1760000040.0, 0.5);
INSERT INTO trained (owner, at, minutes) VALUES ('own_ada', 1760000061.0, 3.0);
INSERT INTO idempotency (owner, key, fingerprint, status, answer, created) VALUES
    ('own_ada', 'once', 'bb', 202, '{"id": "cover_next"}', 1760000040.0);
INSERT INTO deliveries (id, owner, job, url, body, state, tries, due, error) VALUES
    ('delivery_1', 'own_ada', 'cover_done', 'https://example.org/hook', '{}', 'waiting', 1, 1760000200.0, NULL);
INSERT INTO tallies (name, label, number, seconds) VALUES ('job', 'cover done', 1, 78.0);
