package tasks_test

import (
	"cmp"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

func TestReportsOfProcessesExpire(t *testing.T) {
	server, rdb := startRedis(t)
	one, two := tasks.WorkerReport{Host: "a", PID: 1, Version: "v1"}, tasks.WorkerReport{Host: "a", PID: 2, Version: "v2"}
	ingest := tasks.IngestReport{Host: "b", PID: 3, Version: "v3", SpoolPercent: 4}
	check := func(workers []tasks.WorkerReport, ingests []tasks.IngestReport) {
		t.Helper()
		gotWorkers, err := tasks.ReadWorkers(t.Context(), rdb)
		testenv.NoError(t, err)
		slices.SortFunc(gotWorkers, func(a, b tasks.WorkerReport) int { return cmp.Compare(a.PID, b.PID) })
		gotIngests, err := tasks.ReadIngests(t.Context(), rdb)
		testenv.NoError(t, err)
		if diff := gocmp.Diff(workers, gotWorkers) + gocmp.Diff(ingests, gotIngests); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	}
	testenv.NoError(t, tasks.ReportWorker(t.Context(), rdb, "x", one))
	testenv.NoError(t, tasks.ReportIngest(t.Context(), rdb, "x", ingest))
	server.FastForward(40 * time.Second)
	testenv.NoError(t, tasks.ReportWorker(t.Context(), rdb, "y", two))
	check([]tasks.WorkerReport{one, two}, []tasks.IngestReport{ingest})
	server.FastForward(40 * time.Second)
	check([]tasks.WorkerReport{two}, nil)
}
