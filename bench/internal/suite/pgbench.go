package suite

import (
	"context"
	"embed"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"time"

	"github.com/klinghook/klinghook/bench/internal/results"
	"github.com/klinghook/klinghook/bench/internal/rig"
)

//go:embed pgbench/*.sql
var pgbenchScripts embed.FS

const (
	// pgbenchClients are how many transactions pgbench has at once: more than keep a
	// small machine busy.
	pgbenchClients = 16
	// plainConcurrency is how many tasks the plain asynq Server runs at once: more than
	// it can fetch while one that does nothing is run.
	plainConcurrency = 16
)

// pgbench runs a script on an empty database and returns its transactions a second.
func (s *Suite) pgbench(ctx context.Context, pg *rig.Postgres, script string) (tps float64, err error) {
	text, err := pgbenchScripts.ReadFile("pgbench/" + script + ".sql")
	if err != nil {
		return 0, err
	}
	path := s.Rig.Path(script + ".sql")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return 0, err
	}
	database, err := pg.NewDatabase(ctx)
	if err != nil {
		return 0, err
	}
	if err := s.Rig.Migrate(ctx, pg.URL(database)); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.Plan.Pgbench+time.Minute)
	defer cancel()
	program, args := pg.Program("pgbench")
	cmd := exec.CommandContext(ctx, program, append(args, "-n", "-M", "prepared", "-f", path, "-c", strconv.Itoa(pgbenchClients),
		"-j", strconv.Itoa(min(runtime.NumCPU(), pgbenchClients)), "-T", strconv.Itoa(max(int(s.Plan.Pgbench.Seconds()), 1)), database)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("pgbench: %w:\n%s", err, out)
	}
	return readPgbench(out)
}

// readPgbench reads the rate from what pgbench prints.
func readPgbench(out []byte) (float64, error) {
	found := regexp.MustCompile(`(?m)^tps = ([0-9.]+)`).FindSubmatch(out)
	if found == nil {
		return 0, fmt.Errorf("pgbench printed no rate:\n%s", out)
	}
	return strconv.ParseFloat(string(found[1]), 64)
}

// pgbenchAll runs each script several times, in turn.
func (s *Suite) pgbenchAll(ctx context.Context, pg *rig.Postgres) ([]results.Pgbench, error) {
	all := []results.Pgbench{{Script: results.ScriptInserts, Clients: pgbenchClients}, {Script: results.ScriptRecord, Clients: pgbenchClients}}
	for range s.Plan.SideRounds {
		for i := range all {
			tps, err := s.pgbench(ctx, pg, all[i].Script)
			if err != nil {
				return nil, err
			}
			all[i].Rates = append(all[i].Rates, tps)
			s.say("  pgbench %-8s %7.0f/s", all[i].Script, tps)
		}
	}
	return all, nil
}
