package suite

import "time"

// Plan is how much is measured.
type Plan struct {
	Name string
	// Rounds are those of the comparison; SideRounds those of everything that is
	// measured several times beside it.
	Rounds, SideRounds int
	// Warm and Measure are the two parts of a round.
	Warm, Measure time.Duration
	// Requests is how many distinct deliveries there are.
	Requests int

	// Connections and BodySizes, in bytes, are those of the table of growth; Cell is
	// the time of each of them. SizeBudget bounds, in bytes, the deliveries of a size.
	Connections, BodySizes []int
	Cell                   time.Duration
	SizeBudget             int

	// Backlog and DeepBacklog are numbers of events; DrainLimit ends a drain.
	Backlog, DeepBacklog int
	DrainLimit           time.Duration
	Pgbench              time.Duration
	WholePath            time.Duration

	PickUps   int
	IdleWatch time.Duration

	// Downloads are the numbers of files at once, and their sizes in bytes.
	Downloads []Files
	// Workers are how many share ScalingFiles.
	Workers      []int
	ScalingFiles int

	// Soak is how long it takes; 0 leaves it out.
	Soak time.Duration
}

// Files is a number of files of one size in bytes.
type Files struct {
	Count int
	Size  int64
}

const (
	// connections and bodySize are those of the comparison.
	connections = 64
	// manyConnections are more than any contestant has to Redis.
	manyConnections = 256
	bodySize        = 550
	// each is what the proxy adds to each direction for "a Redis 2 ms away".
	each = time.Millisecond
	// scalingDelay and scalingSize are of a file that waits for the network.
	scalingDelay = 250 * time.Millisecond
	scalingSize  = 64 << 10
	mib          = 1 << 20
)

// Full is what the report is made of: some twenty minutes.
func Full() Plan {
	return Plan{
		Name: "full", Rounds: 5, SideRounds: 3, Warm: 2 * time.Second, Measure: 8 * time.Second, Requests: 600_000,
		Connections: []int{1, 8, 64, 256, 1024}, BodySizes: []int{512, 4 << 10, 64 << 10, 512 << 10}, Cell: 5 * time.Second, SizeBudget: 1 << 30,
		Backlog: 20_000, DeepBacklog: 200_000, DrainLimit: 40 * time.Second, Pgbench: 10 * time.Second, WholePath: 15 * time.Second,
		PickUps: 100, IdleWatch: 20 * time.Second,
		Downloads: []Files{{1, 1 << 30}, {64, 16 << 20}}, Workers: []int{1, 2, 4, 8}, ScalingFiles: 320,
	}
}

// Short is whether everything works, in about two minutes. Its figures are no
// measurements.
func Short() Plan {
	return Plan{
		Name: "short", Rounds: 2, SideRounds: 1, Warm: time.Second, Measure: 2 * time.Second, Requests: 120_000,
		Connections: []int{1, 64}, BodySizes: []int{512, 64 << 10}, Cell: time.Second, SizeBudget: 128 << 20,
		Backlog: 2_000, DeepBacklog: 8_000, DrainLimit: 8 * time.Second, Pgbench: 2 * time.Second, WholePath: 3 * time.Second,
		PickUps: 10, IdleWatch: 3 * time.Second,
		Downloads: []Files{{1, 64 << 20}, {8, 4 << 20}}, Workers: []int{1, 2}, ScalingFiles: 48,
	}
}
