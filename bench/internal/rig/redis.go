package rig

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Redis is a redis-server.
type Redis struct {
	*Process
	// Addr is where clients connect to: the server, or the proxy that delays it.
	Addr string
	// Client is connected to the server itself.
	Client *redis.Client
	proxy  *Process
}

// RedisConfig is how a Redis runs.
type RedisConfig struct {
	// Fsync is its appendfsync; default everysec.
	Fsync string
	// Each delays each direction of every connection to it.
	Each time.Duration
	// Rewrite lets it rewrite its append-only file as it grows, as it does unless
	// told otherwise. A backlog that nothing drains would be rewritten several times
	// in a round of some seconds, which no real queue is.
	Rewrite bool
}

// StartRedis starts an empty one.
func (r *Rig) StartRedis(ctx context.Context, cfg RedisConfig) (_ *Redis, err error) {
	addr, err := freeAddr(ctx)
	if err != nil {
		return nil, err
	}
	if cfg.Fsync == "" {
		cfg.Fsync = "everysec"
	}
	_, port, _ := net.SplitHostPort(addr)
	args := []string{"--port", port, "--bind", "127.0.0.1", "--save", "", "--daemonize", "no", "--appendonly", "yes", "--appendfsync", cfg.Fsync}
	if !cfg.Rewrite {
		args = append(args, "--auto-aof-rewrite-percentage", "0")
	}
	process, err := r.start(program{name: "redis-server", path: "redis-server", args: args})
	if err != nil {
		return nil, err
	}
	rd := &Redis{Process: process, Addr: addr, Client: redis.NewClient(&redis.Options{Addr: addr, DialerRetries: 1, ReadTimeout: time.Minute})}
	defer func() {
		if err != nil {
			err = errors.Join(err, rd.Stop())
		}
	}()
	if err := process.await(ctx, 5*time.Millisecond, func(ctx context.Context) error { return rd.Client.Ping(ctx).Err() }); err != nil {
		return nil, err
	}
	if cfg.Each == 0 {
		return rd, nil
	}
	if rd.Addr, err = freeAddr(ctx); err != nil {
		return nil, err
	}
	rd.proxy, err = r.start(program{name: "delay", path: r.contender, args: []string{"delay", "-addr", rd.Addr, "-to", addr, "-each", cfg.Each.String()}})
	if err != nil {
		return nil, err
	}
	return rd, rd.proxy.await(ctx, 5*time.Millisecond, func(ctx context.Context) error { return connect(ctx, rd.Addr) })
}

// Stop ends it and forgets what it kept.
func (rd *Redis) Stop() error {
	err := rd.Client.Close()
	if rd.proxy != nil {
		err = errors.Join(err, rd.proxy.Stop())
	}
	return errors.Join(err, rd.Process.Stop())
}

// URL is Addr as the settings have it.
func (rd *Redis) URL() string { return "redis://" + rd.Addr + "/0" }

// RoundTrip measures the median time of a PING as the clients at Addr see it.
func (rd *Redis) RoundTrip(ctx context.Context) (time.Duration, error) {
	client := redis.NewClient(&redis.Options{Addr: rd.Addr})
	defer func() { _ = client.Close() }() // nothing is in flight
	const pings = 101
	took := make([]float64, 0, pings)
	for range pings {
		began := time.Now()
		if err := client.Ping(ctx).Err(); err != nil {
			return 0, err
		}
		took = append(took, time.Since(began).Seconds())
	}
	return time.Duration(median(took) * float64(time.Second)), nil
}

// Memory is used_memory in bytes.
func (rd *Redis) Memory(ctx context.Context) (int64, error) {
	info, err := rd.Client.Info(ctx, "memory").Result()
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(info, "used_memory:")
	digits, _, _ := strings.Cut(rest, "\r\n")
	return strconv.ParseInt(digits, 10, 64)
}

// Backlog is how many tasks of the queues whose names begin so wait or run, and how
// many are done and not forgotten yet.
type Backlog struct{ Waiting, Done int64 }

// Backlog counts tasks by asynq's keys.
func (rd *Redis) Backlog(ctx context.Context, prefix string) (Backlog, error) {
	queues, err := rd.Client.SMembers(ctx, "asynq:queues").Result()
	if err != nil {
		return Backlog{}, err
	}
	var waiting, done []*redis.IntCmd
	_, err = rd.Client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, queue := range queues {
			if strings.HasPrefix(queue, prefix) {
				key := "asynq:{" + queue + "}:"
				waiting = append(waiting, p.LLen(ctx, key+"pending"), p.LLen(ctx, key+"active"))
				done = append(done, p.ZCard(ctx, key+"completed"))
			}
		}
		return nil
	})
	var b Backlog
	for _, n := range waiting {
		b.Waiting += n.Val()
	}
	for _, n := range done {
		b.Done += n.Val()
	}
	return b, err
}

// Commands watches for a time what clients ask of it, by command. What scripts do
// inside does not count.
func (rd *Redis) Commands(ctx context.Context, d time.Duration) (map[string]int, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", rd.Client.Options().Addr)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }() // it was only read
	if err := conn.SetDeadline(time.Now().Add(d)); err != nil {
		return nil, err
	}
	if _, err := conn.Write([]byte("MONITOR\r\n")); err != nil {
		return nil, err
	}
	counts := make(map[string]int)
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		if name := monitored(lines.Text()); name != "" {
			counts[name]++
		}
	}
	return counts, ctx.Err()
}

// monitored returns the command of a line that MONITOR prints; empty when it is none
// or one of a script.
func monitored(line string) string {
	_, rest, _ := strings.Cut(line, " [")
	origin, rest, ok := strings.Cut(rest, `] "`)
	if !ok || strings.HasSuffix(origin, " lua") {
		return ""
	}
	name, _, _ := strings.Cut(rest, `"`)
	return strings.ToLower(name)
}

// connect succeeds when somebody listens.
func connect(ctx context.Context, addr string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	return conn.Close()
}

// Hold keeps workers from taking tasks out of the queues whose names begin so, and
// Release lets them: so that workers that take a while to start begin together.
func (rd *Redis) Hold(ctx context.Context, prefix string) error {
	return rd.eachQueue(ctx, prefix, func(key string) error { return rd.Client.Set(ctx, key, 1, 0).Err() })
}

// Release is the end of Hold.
func (rd *Redis) Release(ctx context.Context, prefix string) error {
	return rd.eachQueue(ctx, prefix, func(key string) error { return rd.Client.Del(ctx, key).Err() })
}

// eachQueue calls do with the key by which asynq pauses a queue.
func (rd *Redis) eachQueue(ctx context.Context, prefix string, do func(key string) error) error {
	queues, err := rd.Client.SMembers(ctx, "asynq:queues").Result()
	for _, queue := range queues {
		if err == nil && strings.HasPrefix(queue, prefix) {
			err = do("asynq:{" + queue + "}:paused")
		}
	}
	return err
}
