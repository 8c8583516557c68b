package testenv

import (
	"errors"
	"os"
	"testing"

	"github.com/jackc/pgx/v5"
)

// count runs statements, the last of which returns a number.
func count(t *testing.T, url string, statements ...string) (n int, err error) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		return 0, err
	}
	for _, s := range statements[:len(statements)-1] {
		if _, err := conn.Exec(t.Context(), s); err != nil {
			return 0, errors.Join(err, conn.Close(t.Context()))
		}
	}
	err = conn.QueryRow(t.Context(), statements[len(statements)-1]).Scan(&n)
	return n, errors.Join(err, conn.Close(t.Context()))
}

const (
	createTable = `CREATE TABLE kept (n int)`
	insertRow   = `INSERT INTO kept VALUES (1)`
	countRows   = `SELECT count(*) FROM kept`
)

func TestPostgresDatabasesAreSeparate(t *testing.T) {
	a, b := Postgres(t), Postgres(t)
	for _, url := range []string{a, b} {
		if n, err := count(t, url, createTable, insertRow, countRows); n != 1 || err != nil {
			t.Errorf("%s: %d rows (error %v), want 1", url, n, err)
		}
	}
}

func TestPostgresDropsDatabase(t *testing.T) {
	postgresBin(t)
	var url string
	t.Run("user", func(t *testing.T) {
		url = Postgres(t)
		// An open connection must not keep the database.
		if _, err := pgx.Connect(t.Context(), url); err != nil {
			t.Fatal(err)
		}
	})
	if _, err := count(t, url, `SELECT 1`); err == nil {
		t.Error("the database is still there after its test")
	}
}

func TestPostgresServerRestart(t *testing.T) {
	tests := []struct {
		name string
		end  func(*PostgresCluster)
	}{
		{"killed", (*PostgresCluster).Kill},
		{"stopped", (*PostgresCluster).Stop},
		{"running", func(*PostgresCluster) {}},
	}
	p := PostgresServer(t)
	url := p.URL()
	if _, err := count(t, url, createTable, countRows); err != nil {
		t.Fatal(err)
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			// It stays open, so that the server ends with a client connected.
			conn, err := pgx.Connect(t.Context(), url)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Exec(t.Context(), insertRow); err != nil {
				t.Fatal(err)
			}

			tt.end(p)
			if _, err := count(t, p.URL(), `SELECT 1`); (err == nil) != (tt.name == "running") {
				t.Errorf("the server answers with error %v", err)
			}
			p.Restart()

			if n, err := count(t, p.URL(), countRows); n != i+1 || err != nil {
				t.Errorf("%d rows after the restart (error %v), want %d", n, err, i+1)
			}
			if p.URL() != url {
				t.Errorf("URL changed from %s to %s", url, p.URL())
			}
			_ = conn.Close(t.Context()) // Its server has ended.
		})
	}
}

func TestPostgresServerLeavesNothing(t *testing.T) {
	postgresBin(t)
	var dir string
	t.Run("user", func(t *testing.T) { dir = PostgresServer(t).server.dir })
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is still there after its test (error %v)", dir, err)
	}
}
