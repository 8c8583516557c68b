package store

import (
	"cmp"
	"context"
	"crypto/tls"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

var (
	// ErrReadOnly reports that a PostgreSQL server accepts no writes, such as a standby.
	ErrReadOnly = errors.New("the database server is read-only; is it a standby? Name the primary, or all servers separated by commas")
	// ErrPassword reports that PostgreSQL refused the password.
	ErrPassword = errors.New("the database refuses the password")
)

const (
	// postgresConns is the maximum number of connections of one process: few enough for
	// several workers to share a server's default of 100.
	postgresConns = 24
	// connAge bounds the age of a connection, so that a process notices when a host name
	// moves to another server.
	connAge = 5 * time.Minute
	// connectTimeout is how long one of several servers may take to answer, unless the
	// URL says otherwise.
	connectTimeout = 5 * time.Second
)

// postgresPool decides how connections are made and when they are dropped.
type postgresPool struct {
	// generation grows when a server turns out to be read-only: connections of earlier
	// generations may lead to that server, so they are dropped.
	generation atomic.Int64
	// mode is the query mode of new connections, or nil before the first.
	mode atomic.Pointer[pgx.QueryExecMode]
}

func openPostgres(databaseURL string) (*Store, error) {
	cfg, err := pgx.ParseConfig(databaseURL)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	otherServer := func(f *pgconn.FallbackConfig) bool { return f.Host != cfg.Host || f.Port != cfg.Port }
	if cfg.ValidateConnect == nil && !strings.Contains(databaseURL, "target_session_attrs=") && slices.ContainsFunc(cfg.Fallbacks, otherServer) {
		cfg.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	cfg.ConnectTimeout = cmp.Or(cfg.ConnectTimeout, connectTimeout)
	// Servers set up without a locale use SQL_ASCII, which pgx rejects in some modes.
	cfg.RuntimeParams["client_encoding"] = "UTF8"
	pool := &postgresPool{}
	cfg.OnPgError = pool.usableAfter
	if strings.Contains(databaseURL, "default_query_exec_mode=") {
		pool.mode.Store(&cfg.DefaultQueryExecMode)
	}
	db := stdlib.OpenDB(*cfg, stdlib.OptionBeforeConnect(pool.chooseMode), stdlib.OptionAfterConnect(pool.prepare), stdlib.OptionResetSession(pool.checkGeneration))
	db.SetMaxOpenConns(postgresConns)
	db.SetMaxIdleConns(postgresConns)
	db.SetConnMaxIdleTime(connAge)
	db.SetConnMaxLifetime(connAge)
	return &Store{db: db, reads: db, dialect: postgresDialect(), pool: pool}, nil
}

// chooseMode turns off prepared statements behind a pooler such as PgBouncer, which may
// run each transaction on another connection. Behind a pooler, the process ID of the
// server differs from the one in the handshake.
func (p *postgresPool) chooseMode(ctx context.Context, cfg *pgx.ConnConfig) error {
	if p.mode.Load() == nil {
		conn, err := pgx.ConnectConfig(ctx, cfg)
		if err != nil {
			return err
		}
		var pid uint32
		err = conn.QueryRow(ctx, `SELECT pg_backend_pid()`, pgx.QueryExecModeSimpleProtocol).Scan(&pid)
		if err := errors.Join(err, conn.Close(ctx)); err != nil {
			return err
		}
		mode := cfg.DefaultQueryExecMode
		if pid != conn.PgConn().PID() {
			mode = pgx.QueryExecModeCacheDescribe
		}
		p.mode.Store(&mode)
	}
	cfg.DefaultQueryExecMode = *p.mode.Load()
	return nil
}

const generationKey = "klinghook generation"

// prepare makes a connection plan its prepared statements each time they run. A generic
// plan made while a table was small scans the whole table until statistics are
// gathered: too late when a thousand rows arrive each second.
func (p *postgresPool) prepare(ctx context.Context, conn *pgx.Conn) error {
	conn.PgConn().CustomData()[generationKey] = p.generation.Load()
	if *p.mode.Load() != pgx.QueryExecModeCacheStatement {
		return nil
	}
	if _, err := conn.Exec(ctx, `SET plan_cache_mode = force_custom_plan`); err != nil {
		return errors.Join(err, conn.Close(ctx))
	}
	return nil
}

func (p *postgresPool) checkGeneration(_ context.Context, conn *pgx.Conn) error {
	if conn.PgConn().CustomData()[generationKey] != p.generation.Load() {
		return driver.ErrBadConn
	}
	return nil
}

// usableAfter reports whether a connection stays usable after an error from its server. It
// does not if the server shuts down or is read-only. If read-only, usableAfter also drops
// the other connections.
func (p *postgresPool) usableAfter(conn *pgconn.PgConn, err *pgconn.PgError) bool {
	if err.Code == readOnlyTransaction {
		if own, ok := conn.CustomData()[generationKey].(int64); ok {
			p.generation.CompareAndSwap(own, own+1)
		}
		return false
	}
	return !strings.EqualFold(cmp.Or(err.SeverityUnlocalized, err.Severity), "FATAL") && !strings.HasPrefix(err.Code, "57P")
}

// PostgreSQL error codes.
const (
	readOnlyTransaction = "25006"
	invalidPassword     = "28P01"
)

// unreachable explains why a database cannot be used.
func unreachable(err error) error {
	var refused *pgconn.PgError
	if errors.As(err, &refused) && refused.Code == invalidPassword {
		return fmt.Errorf("reach database: %w: %w", ErrPassword, err)
	}
	return fmt.Errorf("reach database: %w", err)
}

// IsTemporary reports whether a PostgreSQL error may pass by itself: the server cannot
// be reached, is starting or stopping, full, or read-only.
func IsTemporary(err error) bool {
	var answer *pgconn.PgError
	var untrusted *tls.CertificateVerificationError
	var connecting *pgconn.ConnectError
	var network net.Error
	switch {
	case errors.As(err, &answer):
		return answer.Code == readOnlyTransaction ||
			slices.Contains([]string{"08", "40", "53", "55", "57", "58"}, answer.Code[:min(2, len(answer.Code))])
	case errors.As(err, &untrusted):
		return false
	}
	return errors.Is(err, ErrReadOnly) || errors.Is(err, driver.ErrBadConn) || errors.Is(err, context.DeadlineExceeded) ||
		errors.As(err, &connecting) || errors.As(err, &network)
}
