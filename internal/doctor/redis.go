package doctor

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/klinghook/klinghook/tasks"
)

// RedisConfig describes the Redis to check.
type RedisConfig struct {
	Client redis.UniversalClient
	// Where is the URL without its secrets.
	Where string
	// Ping returns an error with advice if Redis does not answer.
	Ping func(context.Context) error
	// OfDev reports that it is the running dev's, which may be in memory.
	OfDev bool
}

// probeKey is written and deleted.
const probeKey = "klinghook:doctor"

// Redis checks that Redis answers and accepts writes, its version, persistence, eviction
// policy, memory and clock; in a cluster those of each master.
func Redis(cfg RedisConfig) Check {
	return Check{Name: "redis", Run: func(ctx context.Context) []Finding {
		if err := cfg.Ping(ctx); err != nil {
			return []Finding{failed("redis", err.Error(), "")}
		}
		if err := cfg.Client.Set(ctx, probeKey, 1, time.Minute).Err(); err != nil {
			return []Finding{failed("redis", fmt.Sprintf("%s refuses a write: %v", cfg.Where, err), "name the master in KLINGHOOK_REDIS_URL, free memory or disk space, or allow its user to write keys of klinghook:* and asynq:*")}
		}
		_ = cfg.Client.Del(ctx, probeKey).Err() // else it expires
		if info, err := cfg.Client.Info(ctx).Result(); err == nil && cfg.OfDev && !strings.Contains(info, "redis_version") {
			return []Finding{ok("redis", "the queue of the running dev, in its memory")}
		}
		cluster, isCluster := cfg.Client.(*redis.ClusterClient)
		if !isCluster {
			return redisServer(ctx, cfg.Client, cfg.Where)
		}
		var mu sync.Mutex // guards all
		var all []Finding
		err := cluster.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error {
			findings := redisServer(ctx, node, node.Options().Addr)
			mu.Lock()
			defer mu.Unlock()
			all = append(all, findings...)
			return nil
		})
		if err != nil {
			all = append(all, failed("redis", "list the masters: "+err.Error(), "check the cluster with: redis-cli --cluster check"))
		}
		slices.SortStableFunc(all, func(a, b Finding) int { return cmp.Compare(a.Check, b.Check) })
		return all
	}}
}

// redisServer checks one server.
func redisServer(ctx context.Context, node redis.Cmdable, where string) []Finding {
	text, err := node.Info(ctx).Result()
	if err != nil {
		return []Finding{warning("redis", fmt.Sprintf("%s answers, but not INFO: %v", where, err), "grant its user +info, so that ingest can see when memory runs out")}
	}
	info := map[string]string{}
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		info[key] = value
	}
	setting := func(name string) string {
		values, err := node.ConfigGet(ctx, name).Result()
		if err != nil {
			return unknown // many users may not read it
		}
		return values[name]
	}
	return []Finding{
		redisVersion(info, where),
		redisPersistence(info, setting, where),
		redisEviction(info, where),
		redisMemory(info, where),
		redisClock(ctx, node, where),
	}
}

// unknown is a setting that this user may not read.
const unknown = "unknown"

func redisVersion(info map[string]string, where string) Finding {
	version := info["redis_version"]
	major, rest, _ := strings.Cut(version, ".")
	minor, _, _ := strings.Cut(rest, ".")
	number, _ := strconv.Atoi(major)
	fraction, _ := strconv.Atoi(minor)
	switch {
	case info["role"] == "slave":
		return failed("redis", where+" is a replica", "name its master in KLINGHOOK_REDIS_URL, or use Sentinel")
	case number < 6 || number == 6 && fraction < 2:
		return failed("redis", fmt.Sprintf("version %s at %s", cmp.Or(version, unknown), where), "use Redis 6.2 or newer")
	}
	return ok("redis", "version %s at %s", version, where)
}

func redisPersistence(info map[string]string, setting func(string) string, where string) Finding {
	const check, fix = "redis persistence", "set appendonly yes and appendfsync always"
	if info["aof_enabled"] == "1" {
		if info["aof_last_write_status"] == "err" {
			return failed(check, where+" cannot write its append-only file", "free disk space, and read Redis's log")
		}
		switch fsync := setting("appendfsync"); fsync {
		case "always":
			return ok(check, "append-only file, synced before each answer")
		case unknown:
			return ok(check, "append-only file; this user may not read appendfsync, which should be always")
		default:
			return warning(check, fmt.Sprintf("append-only file with appendfsync %s: a crash of %s can lose events that were answered with 200", fsync, where), "set appendfsync always")
		}
	}
	switch save := setting("save"); {
	case save == "":
		return failed(check, where+" keeps everything in memory only: a restart loses all waiting events", fix)
	case info["rdb_last_bgsave_status"] == "err":
		return failed(check, where+" cannot write its snapshots", "free disk space, read Redis's log, and "+fix)
	default:
		return warning(check, where+" has no append-only file: a crash loses the events since the last snapshot", fix)
	}
}

func redisEviction(info map[string]string, where string) Finding {
	const check, fix = "redis eviction", "set maxmemory-policy noeviction"
	policy := info["maxmemory_policy"]
	found := fmt.Sprintf("maxmemory-policy of %s is %s", where, cmp.Or(policy, unknown))
	switch {
	case policy == "noeviction":
		return ok(check, "maxmemory-policy noeviction")
	case strings.HasPrefix(policy, "allkeys-") && info["maxmemory"] != "0":
		return failed(check, found+": it deletes tasks when memory runs out", fix)
	}
	return warning(check, found, fix)
}

func redisMemory(info map[string]string, where string) Finding {
	const check = "redis memory"
	// ingest spools at high percent.
	const high, rising = 90, 75
	used, _ := strconv.ParseFloat(info["used_memory"], 64)
	limit, _ := strconv.ParseFloat(info["maxmemory"], 64)
	if limit == 0 {
		return warning(check, fmt.Sprintf("%.0f MiB used at %s, without a limit: Redis can take all memory of its machine", used/(1<<20), where), "set maxmemory")
	}
	percent := used / limit * 100
	found := fmt.Sprintf("%.0f of %.0f MiB used (%.0f %%) at %s", used/(1<<20), limit/(1<<20), percent, where)
	switch {
	case percent >= high:
		return failed(check, found+": ingest does not use Redis above 90 %", "raise maxmemory, or start more workers")
	case percent >= rising:
		return warning(check, found, "raise maxmemory, or start more workers")
	}
	return ok(check, "%s", found)
}

func redisClock(ctx context.Context, node redis.Cmdable, where string) Finding {
	before := time.Now()
	theirs, err := node.Time(ctx).Result()
	took := time.Since(before)
	if err != nil {
		return warning("redis clock", fmt.Sprintf("%s does not answer TIME: %v", where, err), "grant its user +time")
	}
	return clock("redis clock", "the clock of "+where, theirs.Sub(before.Add(took/2)))
}

// Workers checks that each queue has a worker.
func Workers(rdb redis.UniversalClient, eventShards int) Check {
	const check = "workers"
	return Check{Name: check, Run: func(context.Context) []Finding {
		running, err := tasks.Workers(rdb)
		if err != nil {
			return []Finding{failed(check, err.Error(), "see the check redis")}
		}
		idle := tasks.QueuesWithout(running, eventShards)
		switch {
		case len(running) == 0:
			return []Finding{failed(check, "no worker is running", "start klinghook worker; if it exits at once, its log says why")}
		case len(idle) > 0:
			return []Finding{failed(check, "no worker runs "+strings.Join(idle, ", "), "add the queue to KLINGHOOK_QUEUES of a worker; KLINGHOOK_EVENT_SHARDS must be the same in every process")}
		}
		var counts []string
		for _, queue := range tasks.AllQueues(eventShards) {
			counts = append(counts, fmt.Sprintf("%s %d", queue, running[queue]))
		}
		return []Finding{ok(check, "processes per queue: %s", strings.Join(counts, ", "))}
	}}
}

// Ingests checks the running ingest processes.
func Ingests(rdb redis.UniversalClient) Check {
	const check = "ingest"
	// filling is the use of a spool that is worth a warning, in percent.
	const filling = 50
	return Check{Name: check, Run: func(ctx context.Context) []Finding {
		reports, err := tasks.ReadIngests(ctx, rdb)
		if err != nil {
			return []Finding{failed(check, err.Error(), "see the check redis")}
		}
		if len(reports) == 0 {
			return []Finding{warning(check, "no ingest has reported to this Redis within a minute", "start klinghook-ingest with the same KLINGHOOK_REDIS_URL")}
		}
		var findings []Finding
		for _, report := range reports {
			if report.SpoolPercent >= filling {
				findings = append(findings, warning(check, fmt.Sprintf("the spool of %s is %d %% full", report.Host, report.SpoolPercent), "bring Redis back, or raise KLINGHOOK_SPOOL_MAX_SIZE"))
			}
			for _, refusal := range report.Refused {
				findings = append(findings, warning(check, fmt.Sprintf("%s refused %d deliveries to %s (%s)", report.Host, refusal.Count, refusal.Source, refusal.Reason), "see klinghook rejections list and the log of klinghook-ingest"))
			}
		}
		if len(findings) == 0 {
			findings = []Finding{ok(check, "processes: %d", len(reports))}
		}
		return findings
	}}
}
