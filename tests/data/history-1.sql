BEGIN TRANSACTION;
CREATE TABLE finding (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL, severity TEXT NOT NULL, title TEXT NOT NULL,
  UNIQUE (name, severity, title)
);
INSERT INTO "finding" VALUES(1,'trl-9','wrong','a ''title'' with ☃');
CREATE TABLE part (
  run INTEGER NOT NULL REFERENCES run, name TEXT NOT NULL, outcome TEXT NOT NULL, attempts INTEGER NOT NULL,
  seconds REAL NOT NULL, error TEXT NOT NULL, PRIMARY KEY (run, name)
) WITHOUT ROWID;
INSERT INTO "part" VALUES(1,'align','failed',2,0.5,'KeyError');
CREATE TABLE run (
  id INTEGER PRIMARY KEY, digest TEXT NOT NULL UNIQUE, model TEXT NOT NULL, cell TEXT NOT NULL,
  started TEXT NOT NULL, key TEXT NOT NULL, lock TEXT NOT NULL, outcome TEXT NOT NULL,
  interruption TEXT NOT NULL, attempts INTEGER NOT NULL, seconds REAL NOT NULL
);
INSERT INTO "run" VALUES(1,'dd0b358c4822ee154805f746e66f401589a6e078d01947253423e70effe6d354','tiny','latest','2026-01-01T10:00:00Z','k','l','failed','',2,4.5);
INSERT INTO "run" VALUES(2,'6952d1290480d9750f06e86718462505f944f7c28de35101cdcd0d8b1f2d57dd','tiny','old','2026-01-02T10:00:00Z','k','l','passed','',2,4.5);
CREATE TABLE step (
  id INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES run, before INTEGER NOT NULL REFERENCES run,
  answer TEXT NOT NULL, UNIQUE (run, before)
);
INSERT INTO "step" VALUES(1,1,2,'BREAKS');
CREATE TABLE step_finding (
  step INTEGER NOT NULL REFERENCES step, finding INTEGER NOT NULL REFERENCES finding,
  PRIMARY KEY (step, finding)
) WITHOUT ROWID;
INSERT INTO "step_finding" VALUES(1,1);
CREATE INDEX run_of_cell ON run (model, cell, started);
PRAGMA user_version = 1;
PRAGMA application_id = 1953853029;
COMMIT;
