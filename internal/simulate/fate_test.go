package simulate

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const thousand = 1000

// createMany creates jobs and waits until nothing more happens.
func createMany(t *testing.T, s *Simulator, n int) {
	t.Helper()
	for range n {
		create(t, s)
	}
	pass(time.Hour)
	if stats := s.Stats(); stats.Jobs.InHand != 0 || stats.Callbacks.Waiting != 0 {
		t.Errorf("not finished: %+v", stats)
	}
}

// near checks that a count is within four standard deviations of the share.
func near(t *testing.T, what string, got, of int, share float64) {
	t.Helper()
	n := float64(of)
	if off := math.Abs(float64(got) - n*share); off > 4*math.Sqrt(n*share*(1-share)) {
		t.Errorf("%s: %d of %d, want about %v", what, got, of, share)
	}
}

func TestCallbackFaultsHaveTheirShares(t *testing.T) {
	const planned = 3 * thousand
	for name, cfg := range map[string]Config{
		"nothing":     {},
		"lost":        {Lost: 0.3},
		"all lost":    {Lost: 1},
		"repeated":    {Repeat: 0.2},
		"reordered":   {Reorder: 0.2},
		"late":        {Late: 0.1, LateBy: 7 * time.Second},
		"all at once": {Lost: 0.3, Repeat: 0.2, Reorder: 0.2},
	} {
		t.Run(name, func(t *testing.T) {
			cfg.RandomSeed, cfg.OfficialSecret = 7, officialSecret
			run(t, cfg, func(t *testing.T, s *Simulator, b *inbox) {
				createMany(t, s, thousand)
				c, seen := s.Stats().Callbacks, look(b.all(), cfg.LateBy)
				near(t, "lost", c.Lost, planned, cfg.Lost)
				near(t, "repeated", c.Repeated, planned-c.Lost, cfg.Repeat)
				near(t, "reordered", c.Reordered, planned-thousand, cfg.Reorder) // the last of a job has no successor
				near(t, "late", c.Late, planned, cfg.Late)
				if c.Planned != planned || seen.distinct != planned-c.Lost || seen.posts != seen.distinct+c.Repeated || c.Delivered != seen.posts || seen.late != c.Late {
					t.Errorf("%+v, and saw %+v", c, seen)
				}
				if cfg.Lost == 0 && cfg.Late == 0 && seen.inversions != c.Reordered {
					t.Errorf("%d are reordered, and saw %+v", c.Reordered, seen)
				}
			})
		})
	}
}

// sight summarizes the callbacks that the receiver got.
type sight struct {
	posts, distinct int
	// inversions counts callbacks that arrived after the next one of their job.
	inversions, late int
}

// look summarizes the arrivals. A webhook-id ends in the callback's place in its job.
func look(all []arrival, lateBy time.Duration) sight {
	seen := sight{posts: len(all)}
	due := []time.Duration{0, time.Second, 4 * time.Second}
	first := map[string]time.Time{}
	for _, a := range all {
		id := a.header.Get("Webhook-Id")
		if _, again := first[id]; !again {
			first[id] = a.at
			seen.distinct++
		}
	}
	begun := begin(all)
	for id, at := range first {
		var job, place int
		_, _ = fmt.Sscanf(id, "msg_%d_%d", &job, &place)
		next, ok := first[fmt.Sprintf("msg_%d_%d", job, place+1)]
		if ok && at.After(next) {
			seen.inversions++
		}
		if lateBy > 0 && at.Sub(begun) == due[place]+lateBy {
			seen.late++
		}
	}
	return seen
}

func begin(all []arrival) time.Time {
	if len(all) == 0 {
		return time.Time{}
	}
	return all[0].at
}

func TestJobFaultsHaveTheirShares(t *testing.T) {
	run(t, Config{RandomSeed: 3, Fail: 0.3, Cancel: 0.1}, func(t *testing.T, s *Simulator, _ *inbox) {
		createMany(t, s, thousand)
		jobs := s.Stats().Jobs
		near(t, "failed", jobs.Failed, thousand, 0.3)
		near(t, "cancelled", jobs.Cancelled, thousand, 0.1)
		if jobs.Created != thousand || jobs.Succeeded+jobs.Failed+jobs.Cancelled != thousand {
			t.Errorf("%+v", jobs)
		}
	})
	cfg := Config{DeadLinks: 0.25, BrokenMedia: 0.4, Drift: true}
	dead, broken := map[int]int{}, 0
	drifts := map[drift]int{}
	for n := range uint64(thousand) {
		f := cfg.jobFate(n)
		dead[f.deadLink]++
		if f.cut > 0 {
			broken++
		}
		drifts[f.drift]++
	}
	near(t, "broken", broken, thousand, 0.4)
	near(t, "working links", dead[0], thousand, 0.75)
	for _, status := range []int{403, 404, 410} {
		near(t, fmt.Sprint(status), dead[status], thousand, 0.25/3)
	}
	if len(drifts) != 7 || drifts[drift{}] != 0 {
		t.Errorf("drifts are %v, want all seven and never none", drifts)
	}
	troubled := 0
	for n := range uint64(thousand) {
		if (Config{Trouble: 0.2}).trouble(n) != 0 {
			troubled++
		}
	}
	near(t, "trouble", troubled, thousand, 0.2)
}

func TestSameSeedGivesTheSameRun(t *testing.T) {
	cfg := Config{RandomSeed: 11, Lost: 0.3, Repeat: 0.2, Reorder: 0.2, Late: 0.1, Fail: 0.2, OfficialSecret: officialSecret}
	log := func(cfg Config) (lines []string) {
		run(t, cfg, func(t *testing.T, s *Simulator, b *inbox) {
			begun := time.Now()
			for range 100 {
				create(t, s)
			}
			pass(time.Hour)
			for _, a := range b.all() {
				lines = append(lines, fmt.Sprint(a.at.Sub(begun), a.header.Get("Webhook-Id"), text(decodeBody(t, a.body), "task_status")))
			}
		})
		slices.Sort(lines) // callbacks of one instant are posted concurrently
		return lines
	}
	first := log(cfg)
	if diff := cmp.Diff(first, log(cfg)); diff != "" {
		t.Errorf("the second run differs (-first +second)\n%s", diff)
	}
	cfg.DeadLinks = 1
	if diff := cmp.Diff(first, log(cfg)); diff != "" {
		t.Errorf("dead links change the callbacks (-first +second)\n%s", diff)
	}
	cfg.RandomSeed = 12
	if cmp.Equal(first, log(cfg)) {
		t.Error("another seed gives the same run")
	}
}
