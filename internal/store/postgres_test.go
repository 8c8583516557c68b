package store_test

import (
	"context"
	"errors"
	"net"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

// execIn runs statements on a connection of its own.
func execIn(t *testing.T, url string, statements ...string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	testenv.NoError(t, err)
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	for _, statement := range statements {
		if _, err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
}

func TestReadOnlyServerIsNotWritable(t *testing.T) {
	url := testenv.Postgres(t)
	db := migrated(t, url)
	testenv.NoError(t, db.CheckWritable(t.Context()))
	name := url[strings.LastIndex(url, "/")+1 : strings.Index(url, "?")]
	execIn(t, url, "ALTER DATABASE "+name+" SET default_transaction_read_only = on")
	readOnly, err := store.Open(t.Context(), url)
	testenv.NoError(t, err)
	defer func() { _ = readOnly.Close() }()
	if err := readOnly.CheckWritable(t.Context()); !errors.Is(err, store.ErrReadOnly) || !store.IsTemporary(err) {
		t.Errorf("CheckWritable = %v, want a temporary ErrReadOnly", err)
	}
	if _, err := readOnly.KeepEvent(t.Context(), event("e", "video.created")); err == nil || !store.IsTemporary(err) {
		t.Errorf("a write failed with %v, want a temporary error", err)
	}
	execIn(t, url, "SET default_transaction_read_only = off", "ALTER DATABASE "+name+" RESET default_transaction_read_only")
	if _, err := readOnly.KeepEvent(t.Context(), event("e", "video.created")); err != nil {
		t.Errorf("a write after the server became writable: %v", err)
	}
	if err := readOnly.CheckWritable(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestServerWithAnotherEncoding(t *testing.T) {
	url := testenv.Postgres(t)
	name := url[strings.LastIndex(url, "/")+1 : strings.Index(url, "?")]
	execIn(t, url, "ALTER DATABASE "+name+" SET client_encoding = 'SQL_ASCII'")
	testenv.NoError(t, migrated(t, url).CheckWritable(t.Context()))
}

func TestTemporaryErrorsOfPostgreSQL(t *testing.T) {
	here := testenv.Postgres(t)
	elsewhere := strings.Replace(here, here[strings.Index(here, "@")+1:strings.LastIndex(here, "/")], "127.0.0.1:1", 1)
	for name, tt := range map[string]struct {
		url       string
		temporary bool
	}{
		"nothing listens":  {elsewhere, true},
		"unknown user":     {strings.Replace(here, "postgres@", "nobody@", 1), false},
		"unknown database": {strings.Replace(here, "/test_", "/missing_", 1), false},
	} {
		t.Run(name, func(t *testing.T) {
			if db, err := store.Open(t.Context(), tt.url); err == nil || store.IsTemporary(err) != tt.temporary {
				t.Errorf("Open = %v, %v; want an error that is temporary: %t", db, err, tt.temporary)
			}
		})
	}
}

func TestWrongPasswordIsRecognised(t *testing.T) {
	server := testenv.PostgresServer(t)
	server.Exec("ALTER USER postgres PASSWORD 'right'")
	server.Exec(`DO $$ BEGIN EXECUTE format('COPY (SELECT %L) TO %L', 'host all all all scram-sha-256', current_setting('hba_file')); END $$`)
	server.Exec("SELECT pg_reload_conf()")
	wrong := strings.Replace(server.URL(), "postgres@", "postgres:wrong@", 1)
	for { // the server does not read the file at once
		db, err := store.Open(t.Context(), wrong)
		if err != nil {
			if !errors.Is(err, store.ErrPassword) || store.IsTemporary(err) {
				t.Errorf("Open = %v, want ErrPassword, which is not temporary", err)
			}
			return
		}
		testenv.NoError(t, db.Close())
	}
}

func TestMigrateLeavesAnotherProgramAlone(t *testing.T) {
	url := testenv.Postgres(t)
	execIn(t, url, "CREATE TABLE goose_db_version (id serial PRIMARY KEY, version_id bigint NOT NULL, is_applied boolean NOT NULL)",
		"INSERT INTO goose_db_version (version_id, is_applied) VALUES (0, true), (41, true)")
	migrated(t, url)
	execIn(t, url, "DO $$ BEGIN ASSERT (SELECT max(version_id) = 41 AND count(*) = 2 FROM goose_db_version); END $$")

	url = testenv.Postgres(t)
	execIn(t, url, "CREATE TABLE notifications (id int)")
	db, err := store.Open(t.Context(), url)
	testenv.NoError(t, err)
	defer func() { _ = db.Close() }()
	if _, err := db.Migrate(t.Context()); err == nil || !strings.Contains(err.Error(), "create one for klinghook alone") {
		t.Errorf("Migrate = %v, want an error that says what to do", err)
	}
	execIn(t, url, "DO $$ BEGIN ASSERT to_regclass('events') IS NULL; END $$")
}

// Search needs an extension, which only an owner of the database may add.
func TestMigrateSaysHowToAddTheExtension(t *testing.T) {
	direct := testenv.Postgres(t)
	execIn(t, direct, "DROP ROLE IF EXISTS klinghook_limited", "CREATE ROLE klinghook_limited", "GRANT ALL ON SCHEMA public TO klinghook_limited")
	u, err := url.Parse(direct)
	testenv.NoError(t, err)
	u.RawQuery += "&options=-c%20role%3Dklinghook_limited"
	migrate := func() error {
		db, err := store.Open(t.Context(), u.String())
		testenv.NoError(t, err)
		defer func() { testenv.NoError(t, db.Close()) }()
		_, err = db.Migrate(t.Context())
		return err
	}
	if err := migrate(); err == nil || !strings.Contains(err.Error(), "run `CREATE EXTENSION pg_trgm`") {
		t.Errorf("Migrate = %v, want an error that says what to do", err)
	}
	execIn(t, direct, "CREATE EXTENSION pg_trgm")
	testenv.NoError(t, migrate())
	execIn(t, direct, "DROP OWNED BY klinghook_limited", "DROP ROLE klinghook_limited")
}

// TestPoolerNeedsNoPreparedStatements covers PgBouncer in transaction mode, which keeps no
// statement or setting of an earlier transaction.
func TestPoolerNeedsNoPreparedStatements(t *testing.T) {
	direct := testenv.Postgres(t)
	u, err := url.Parse(direct)
	testenv.NoError(t, err)
	server := u.Host
	u.Host = startPooler(t, server)
	db := migrated(t, u.String())
	ev, update := completed()
	for range 2 {
		if _, err := recordOne(t.Context(), db, ev, update, []string{"slack-1"}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := db.Medium(t.Context(), tasks.KlingJob("vid_1"), "video"); err != nil {
		t.Error(err)
	}
}

// startPooler forwards sessions with another process ID, as poolers do, and reports
// statements that a pooler does not support.
func startPooler(t *testing.T, server string) string {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	testenv.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go pool(t, client, server)
		}
	}()
	return l.Addr().String()
}

func pool(t *testing.T, client net.Conn, server string) {
	defer func() { _ = client.Close() }()
	var dialer net.Dialer
	conn, err := dialer.DialContext(context.WithoutCancel(t.Context()), "tcp", server)
	if err != nil {
		t.Error(err)
		return
	}
	defer func() { _ = conn.Close() }()
	back, front := pgproto3.NewBackend(client, client), pgproto3.NewFrontend(conn, conn)
	startup, err := back.ReceiveStartupMessage()
	if err != nil {
		return
	}
	front.Send(startup)
	if front.Flush() != nil {
		return
	}
	go func() {
		for {
			msg, err := front.Receive()
			if err != nil {
				return
			}
			if key, ok := msg.(*pgproto3.BackendKeyData); ok {
				key.ProcessID ^= 1 << 20
			}
			back.Send(msg)
			if back.Flush() != nil {
				return
			}
		}
	}()
	for {
		msg, err := back.Receive()
		if err != nil {
			return
		}
		switch msg := msg.(type) {
		case *pgproto3.Parse:
			if msg.Name != "" {
				t.Errorf("statement %q is prepared under a name: %s", msg.Name, msg.Query)
			}
		case *pgproto3.Query:
			if strings.HasPrefix(msg.String, "SET ") && !strings.HasPrefix(msg.String, "SET LOCAL ") {
				t.Errorf("a setting of the session: %s", msg.String)
			}
		}
		front.Send(msg)
		if front.Flush() != nil {
			return
		}
	}
}

// The benchmark compares the worker with pgbench, which runs these inserts.
func TestInsertsOfTheBenchmark(t *testing.T) {
	script, err := os.ReadFile("../../bench/inserts.sql")
	testenv.NoError(t, err)
	url := testenv.Postgres(t)
	db := migrated(t, url)
	_, statements, _ := strings.Cut(strings.ReplaceAll(string(script), ":n", "7"), "BEGIN;")
	execIn(t, url, strings.TrimSuffix(strings.TrimSpace(statements), "COMMIT;"))
	if _, err := db.Job(t.Context(), tasks.KlingJob("vid_7")); err != nil {
		t.Error(err)
	}
	if rows, err := db.ListJobs(t.Context(), store.JobQuery{Text: "vid_7"}); err != nil || len(rows) != 1 {
		t.Errorf("%d jobs have the text, %v; want 1", len(rows), err)
	}
}
