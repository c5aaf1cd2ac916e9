-- A ledger that handpick 0.1.0 wrote, as SQL; a failing path, a build and the mark of a watch were added.
PRAGMA user_version = 1;
CREATE TABLE entries (
    cache TEXT NOT NULL,
    path TEXT NOT NULL,
    state TEXT NOT NULL,
    waiting_since INTEGER NOT NULL,
    failing_since INTEGER,
    tries INTEGER NOT NULL DEFAULT 0,
    next_try INTEGER,
    code TEXT,
    message TEXT,
    hint TEXT,
    pushed_at INTEGER,
    seen_at INTEGER,
    PRIMARY KEY (cache, path)
  ) STRICT, WITHOUT ROWID;
INSERT INTO entries VALUES ('down', '/nix/store/35ijl8dk2rcizzfiplsfsk1bx1gzdr3f-data-1', 'waiting', 1796074300241, NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO entries VALUES ('mine', '/nix/store/0973bbzqlrhyzfn4cbgbnydak989min2-lib-1', 'pushed', 1796074300241, NULL, 0, NULL, NULL, NULL, NULL, 1796074300446, 1796074304188);
INSERT INTO entries VALUES ('mine', '/nix/store/35ijl8dk2rcizzfiplsfsk1bx1gzdr3f-data-1', 'excluded', 1796074300241, NULL, 0, NULL, 'exclude-rule', 'excluded by rule "data-*"', NULL, NULL, NULL);
INSERT INTO entries VALUES ('mine', '/nix/store/g5a52sq1ydlb4c88h2hjyc5rbxbbk47x-tool-1', 'pushed', 1796074300241, NULL, 0, NULL, NULL, NULL, NULL, 1796074300446, 1796074304188);
INSERT INTO entries VALUES ('mine', '/nix/store/7k3i624w0rfrvcrbbdrw0zrvasywxmz4-app-2', 'failing', 1796074300241, 1796074300446, 3, 1796074780446, 'UPLOAD_REJECTED', 'Cannot upload "app-2" to cache "mine": expected status 200, received 413', 'Leave it out with max-nar-size.', NULL, NULL);
INSERT INTO entries VALUES ('mine', '/nix/store/pxppp0bh3na4b3ygw5183j2z9igl96j5-app-1', 'pushed', 1796074300241, NULL, 0, NULL, NULL, NULL, NULL, 1796074300446, 1796074304188);
CREATE TABLE caches (
    name TEXT PRIMARY KEY,
    failing_since INTEGER,
    tries INTEGER NOT NULL DEFAULT 0,
    next_at INTEGER NOT NULL, -- when it is asked again
    code TEXT,
    message TEXT,
    hint TEXT,
    checked_at INTEGER
  ) STRICT;
INSERT INTO caches VALUES ('mine', NULL, 0, 1796158782948, NULL, NULL, NULL, 1796074304202);
INSERT INTO caches VALUES ('down', 1796074303884, 2, 1796074426529, 'NETWORK', 'Cannot ask cache "down" which paths it lacks: expected an answer from 127.0.0.1:9, but the connection was refused (127.0.0.1:9)', 'Check the network, the proxy variables, and host and http:// or https:// of this cache.', NULL);
CREATE TABLE builds (path TEXT PRIMARY KEY, at INTEGER NOT NULL) STRICT;
INSERT INTO builds VALUES ('/nix/store/7k3i624w0rfrvcrbbdrw0zrvasywxmz4-app-2', 1796074300200);
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
INSERT INTO facts VALUES ('syncStarted', '1796074304087');
INSERT INTO facts VALUES ('read', '{"broken":{"target":"/nix/store/0973bbzqlrhyzfn4cbgbnydak989min2-lib-1","caches":[]},"gone":{"target":"/nix/store/00000000000000000000000000000000-gone.json","caches":[]},"home":{"target":"/nix/store/8i6z12xzzwzdwkjraxrx2qy96fxvzxrn-handpick-home.json","caches":["down","mine"]}}');
INSERT INTO facts VALUES ('unusable', '{"broken":{"code":"MANIFEST_INVALID","message":"Cannot use selection \"broken\": expected a link to a manifest in the Nix store, /nix/store/0973bbzqlrhyzfn4cbgbnydak989min2-lib-1 is none","hint":"Declare the selection again, or remove wanted/broken from the state folder."}}');
INSERT INTO facts VALUES ('ended', '["/nix/store/00000000000000000000000000000000-gone.json"]');
INSERT INTO facts VALUES ('gone', '["/nix/store/00000000000000000000000000000000-gone.json"]');
INSERT INTO facts VALUES ('digest', '85c8737096e41fadae1735c0558edff92f439e5a66081197aeb028aeb9119f12');
INSERT INTO facts VALUES ('syncEnded', '1796074306569');
INSERT INTO facts VALUES ('watchMark', '1234 /nix/store');
