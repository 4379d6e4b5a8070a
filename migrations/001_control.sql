-- The control plane of sessionferry: one record steers each migration, the other tables hang on it. Applied once, in
-- one transaction, by `sessionferry setup`, as the role of the control URL. Times are the server's clock_timestamp().

CREATE TABLE sessionferry.control_record (
  migration   text PRIMARY KEY,
  revision    bigint NOT NULL CHECK (revision > 0),
  phase       text NOT NULL,
  percent     double precision NOT NULL,
  pending     json,
  generation  text NOT NULL,
  interrupted boolean NOT NULL,
  -- App and proxy nodes that ever joined. Counting them here makes every join a change of this row, so that joins
  -- exclude each other under any isolation level.
  joins       bigint NOT NULL DEFAULT 0,
  changed_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE sessionferry.nodes (
  migration  text NOT NULL REFERENCES sessionferry.control_record ON DELETE CASCADE,
  id         text NOT NULL,
  role       text NOT NULL CHECK (role IN ('app', 'proxy', 'job')),
  protocol   integer NOT NULL,
  host       text NOT NULL,
  pid        integer NOT NULL,
  version    text NOT NULL,
  state      text NOT NULL DEFAULT 'live' CHECK (state IN ('live', 'evicted')),
  report     json,
  joined_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
  renewed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (migration, id)
);

CREATE TABLE sessionferry.locks (
  migration text NOT NULL REFERENCES sessionferry.control_record ON DELETE CASCADE,
  name      text NOT NULL,
  holder    text NOT NULL,
  until     timestamptz NOT NULL,
  PRIMARY KEY (migration, name)
);

CREATE TABLE sessionferry.documents (
  migration text NOT NULL REFERENCES sessionferry.control_record ON DELETE CASCADE,
  kind      text NOT NULL,
  id        text NOT NULL,
  body      json NOT NULL,
  -- Grows with every put, not only with the first.
  put       bigint GENERATED ALWAYS AS IDENTITY,
  PRIMARY KEY (migration, kind, id)
);

CREATE INDEX documents_newest ON sessionferry.documents (migration, kind, put);

CREATE TABLE sessionferry.ledger (
  number    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  migration text NOT NULL REFERENCES sessionferry.control_record ON DELETE CASCADE,
  at        timestamptz NOT NULL DEFAULT clock_timestamp(),
  by        text NOT NULL,
  action    text NOT NULL,
  detail    json NOT NULL
);

CREATE INDEX ledger_newest ON sessionferry.ledger (migration, number);

-- A node trusts that the revision names one content for ever, so the table itself refuses to break that, whoever
-- writes. A commit that a crash of the server could take back would break it too: hence no asynchronous commit here.
CREATE FUNCTION sessionferry.guard_record() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.migration <> OLD.migration THEN
    RAISE EXCEPTION 'the control record of % cannot be renamed', OLD.migration;
  END IF;
  IF NEW.revision NOT IN (OLD.revision, OLD.revision + 1) THEN
    RAISE EXCEPTION 'the control record of % cannot go from revision % to %',
      OLD.migration, OLD.revision, NEW.revision;
  END IF;
  IF NEW.revision = OLD.revision AND
     (NEW.phase, NEW.percent, NEW.pending::text, NEW.generation, NEW.interrupted) IS DISTINCT FROM
     (OLD.phase, OLD.percent, OLD.pending::text, OLD.generation, OLD.interrupted) THEN
    RAISE EXCEPTION 'the control record of % cannot change within revision %', OLD.migration, OLD.revision;
  END IF;
  IF current_setting('synchronous_commit') = 'off' THEN
    PERFORM set_config('synchronous_commit', 'on', true);
  END IF;
  RETURN NEW;
END $$;

CREATE TRIGGER guard_record BEFORE UPDATE ON sessionferry.control_record
  FOR EACH ROW EXECUTE PROCEDURE sessionferry.guard_record();

-- Joining and the question whether anybody is there must be one step, or two nodes that start at once could each take
-- the other for the living fleet. The record's row is locked first; the statements after it see all that was
-- committed before. Where nobody is there the record is interrupted under a new revision, unless nothing depends on
-- Redis or no node ever joined.
CREATE FUNCTION sessionferry.join_fleet(
  of_migration text, node_id text, node_role text, node_protocol integer, node_host text, node_pid integer,
  node_version text, presence double precision
) RETURNS SETOF sessionferry.control_record LANGUAGE plpgsql AS $$
DECLARE
  found_record sessionferry.control_record;
  interrupts boolean := false;
BEGIN
  SELECT * INTO found_record FROM sessionferry.control_record WHERE migration = of_migration FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  IF node_role <> 'job' THEN
    interrupts := found_record.joins > 0
      AND NOT (found_record.phase = 'legacy' AND found_record.percent = 100 AND found_record.pending IS NULL)
      AND NOT EXISTS (
        SELECT FROM sessionferry.nodes
        WHERE migration = of_migration AND state = 'live' AND role <> 'job'
          AND extract(epoch FROM clock_timestamp() - renewed_at) * 1000 <= presence
      );
    UPDATE sessionferry.control_record SET
      joins = joins + 1,
      revision = CASE WHEN interrupts THEN revision + 1 ELSE revision END,
      interrupted = interrupted OR interrupts,
      changed_at = CASE WHEN interrupts THEN clock_timestamp() ELSE changed_at END
    WHERE migration = of_migration RETURNING * INTO found_record;
  END IF;
  INSERT INTO sessionferry.nodes (migration, id, role, protocol, host, pid, version)
    VALUES (of_migration, node_id, node_role, node_protocol, node_host, node_pid, node_version);
  RETURN NEXT found_record;
END $$;
