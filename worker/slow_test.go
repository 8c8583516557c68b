package worker_test

import (
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/hibiken/asynq"
	"github.com/jackc/pgx/v5"

	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

func TestSlowDatabaseDoesNotTurnDeadLetterIntoRetry(t *testing.T) {
	t.Parallel()
	database := testenv.Postgres(t)
	f := newFixtureOn(t, miniredis.RunT(t).Addr(), database, 10*time.Second)
	conn, err := pgx.Connect(t.Context(), database)
	testenv.NoError(t, err)
	defer func() { _ = conn.Close(t.Context()) }()
	tx, err := conn.Begin(t.Context())
	testenv.NoError(t, err)
	_, err = tx.Exec(t.Context(), `LOCK TABLE dead_letters`)
	testenv.NoError(t, err)
	unreadable := tasks.Task{Kind: tasks.KindEventRecord, ID: "event:record:odd"}
	_, err = asynq.NewClientFromRedisClient(f.redis).EnqueueContext(t.Context(), asynq.NewTask(string(unreadable.Kind), []byte("{")),
		asynq.TaskID(unreadable.ID), asynq.Queue(tasks.QueueEvents), asynq.MaxRetry(3), asynq.Timeout(time.Second))
	testenv.NoError(t, err)
	f.start(t)
	// The table stays locked for longer than asynq's timeout.
	_, err = tx.Exec(t.Context(), `SELECT pg_sleep(2)`)
	testenv.NoError(t, err)
	testenv.NoError(t, tx.Commit(t.Context()))
	f.eventually(t, "the dead letter", func() bool { return len(f.deadLetters(t)) == 1 })
	f.eventually(t, "the end of the attempt", func() bool {
		return f.state(t, unreadable, tasks.QueueEvents).State != asynq.TaskStateActive
	})
	if info := f.state(t, unreadable, tasks.QueueEvents); info.State != asynq.TaskStateArchived || info.Retried != 0 {
		t.Errorf("the buried task is %s after %d retries, want archived after none", info.State, info.Retried)
	}
}
