package results

// Drain is how fast a backlog of events becomes rows in PostgreSQL.
type Drain struct {
	Stamp
	// Pgbench is what the database itself does with the same statements.
	Pgbench   []Pgbench  `json:"pgbench"`
	Rows      []DrainRow `json:"rows"`
	WholePath *WholePath `json:"sustained,omitempty"`
}

// WholePath is from delivery to committed row, with the sender and klinghook-ingest on
// the same machine, while no more than Window events are outstanding.
type WholePath struct {
	Window      int `json:"window"`
	Connections int `json:"connections"`
	// Rates are events a second, one of each round.
	Rates []float64 `json:"rates"`
	// The processor times are microseconds for each event, in the last round; CPU is the
	// worker's.
	SenderCPU   float64 `json:"sender_cpu_us"`
	IngestCPU   float64 `json:"ingest_cpu_us"`
	CPU         float64 `json:"cpu_us"`
	RedisCPU    float64 `json:"redis_cpu_us"`
	PostgresCPU float64 `json:"postgres_cpu_us"`
	// PeakMiB is the most that the worker had resident in any round.
	PeakMiB float64 `json:"peak_mib"`
}

// Pgbench is what pgbench did with a script.
type Pgbench struct {
	Script  string    `json:"script"`
	Clients int       `json:"clients"`
	Rates   []float64 `json:"rates"`
}

// DrainRow is one worker on one backlog.
type DrainRow struct {
	Name      string  `json:"name"`
	RoundTrip float64 `json:"round_trip_ms"`
	Backlog   int     `json:"backlog"`
	// Rates are events a second, one of each round.
	Rates []float64 `json:"rates"`
	// CPU, RedisCPU and PostgresCPU are microseconds of processor time for each event,
	// in the last round.
	CPU         float64 `json:"cpu_us"`
	RedisCPU    float64 `json:"redis_cpu_us"`
	PostgresCPU float64 `json:"postgres_cpu_us,omitempty"`
	// PeakMiB is the most that the worker had resident in any round.
	PeakMiB float64 `json:"peak_mib"`
	// Left is what was not done when the time was up, in the last round.
	Left int64 `json:"left,omitempty"`
}

// Row returns the row of that name; an empty one where there is none.
func (d *Drain) Row(name string) DrainRow {
	if d != nil {
		for _, row := range d.Rows {
			if row.Name == name {
				return row
			}
		}
	}
	return DrainRow{Name: name}
}

// The rows of a drain.
const (
	PlainLoopback = "one asynq Server, no work, loopback"
	PlainDistant  = "one asynq Server, no work, Redis at 2 ms"
	// The effectless rows are of klinghook's worker where recording does nothing.
	EffectlessLoopback = "klinghook worker, no work, loopback"
	EffectlessDistant  = "klinghook worker, no work, Redis at 2 ms"
	RowLoopback        = "klinghook worker into PostgreSQL, loopback"
	RowDistant         = "klinghook worker into PostgreSQL, Redis at 2 ms"
	RowDeep            = "klinghook worker into PostgreSQL, deep queue"
)

// The scripts of pgbench.
const (
	ScriptInserts = "inserts"
	ScriptRecord  = "record"
)

// Idle is what a system does that has nothing to do.
type Idle struct {
	Stamp
	// PickUps is how many deliveries were sent, one after another; the percentiles are
	// milliseconds from the 200 to the committed row.
	PickUps int     `json:"pick_ups"`
	P50     float64 `json:"p50_ms"`
	P99     float64 `json:"p99_ms"`
	// Commands are those that one idle worker sent to Redis in Seconds.
	Commands map[string]int `json:"commands"`
	Seconds  float64        `json:"seconds"`
	// WorkerMiB is what that worker had resident.
	WorkerMiB float64 `json:"worker_mib"`
}

// Downloads compares a worker with curl.
type Downloads struct {
	Stamp
	Rows []DownloadRow `json:"rows"`
}

// DownloadRow is a number of files at once. Rates are in MiB a second, one of each
// round.
type DownloadRow struct {
	Files   int   `json:"files"`
	SizeMiB int64 `json:"size_mib"`
	// Piped is curl | sha256sum; Kept is the same with the file written and synced.
	Piped   []float64 `json:"piped"`
	Kept    []float64 `json:"kept"`
	Worker  []float64 `json:"worker"`
	PeakMiB float64   `json:"peak_mib"`
}

// Scaling is how several workers share a backlog that waits for the network.
type Scaling struct {
	Stamp
	Files   int          `json:"files"`
	DelayMs float64      `json:"delay_ms"`
	AtOnce  int          `json:"at_once"`
	Rows    []ScalingRow `json:"rows"`
}

// ScalingRow is one number of workers, and how long they took.
type ScalingRow struct {
	Workers int     `json:"workers"`
	Seconds float64 `json:"seconds"`
}

// Soak is a long constant load on klinghook-ingest.
type Soak struct {
	Stamp
	Rate    int     `json:"rate"`
	Seconds float64 `json:"seconds"`
	// Reached is how many a second were answered with 200.
	Reached float64      `json:"reached"`
	Errors  int64        `json:"errors"`
	P50     float64      `json:"p50_ms"`
	P99     float64      `json:"p99_ms"`
	Samples []SoakSample `json:"samples"`
}

// SoakSample is what klinghook-ingest had resident some time after the start.
type SoakSample struct {
	Second float64 `json:"second"`
	MiB    float64 `json:"mib"`
}
