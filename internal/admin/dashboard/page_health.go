package dashboard

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/hibiken/asynq"
	"go.uber.org/zap"

	"github.com/klinghook/klinghook/internal/doctor"
	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/tasks"
)

const (
	// healthTimeout limits each of the reads for the health page: if one service hangs, the
	// others are still shown.
	healthTimeout = 2 * time.Second
	// spoolFilling is the use of a spool that is worth a warning, in percent.
	spoolFilling = 50
	// failingLong is how long a destination must fail to need a person. Most recover sooner.
	failingLong = 10 * time.Minute
	// shownDestinations is how many destinations the page shows.
	shownDestinations = 50
)

// queueNames are the page's names for the queues.
var queueNames = map[string]string{
	tasks.QueueEvents: "Events", tasks.QueueMedia: "Downloads", tasks.QueueNotify: "Notifications", tasks.QueueRejections: "Refused deliveries",
}

// healthPage is the data of the health page. A part that could not be read is empty and
// named in Down.
type healthPage struct {
	// Problems need a person.
	Problems []problem
	Down     []string
	// Failures counts the open dead letters.
	Failures int
	// Since is when this process started to read the queues; zero if it does not.
	Since        time.Time
	Queues       []queueHealth
	Processes    []processHealth
	Lookups      lookupHealth
	Destinations []destinationHealth
	// Checks are the results of the last checks.
	Checks checkResults
}

// checkResults are the results of the checks of klinghook doctor, and when they ran; zero
// if they did not.
type checkResults struct {
	At       time.Time
	Findings []doctor.Finding
}

// problem is a sentence and a link to where more is known.
type problem struct{ Text, Link string }

// queueHealth is one queue.
type queueHealth struct {
	Name, Title string
	asynq.QueueInfo
	// Waiting counts the tasks that do not run yet.
	Waiting int
	// Runs and Failures count the attempts of the last hour, as far as it was measured.
	Runs, Failures int
	Depth, Rate    chart
}

// processHealth is one running process.
type processHealth struct {
	Role, Host, Version string
	PID                 int
	Started             time.Time
	// Queues are the queues of a worker; Running counts its running tasks.
	Queues  []string
	Running int
	// Spool is the use of an ingest's spool in percent; Refused are series of refused
	// deliveries.
	Spool   int
	Refused []tasks.Refusal
}

// lookupHealth is the state of the look-ups.
type lookupHealth struct {
	// On reports that a worker has asked Kling within a day.
	On bool
	store.LookupCounts
}

// destinationHealth is one destination of notifications.
type destinationHealth struct {
	store.Destination
	// Waiting counts its pending notifications.
	Waiting int
	// Last is the latest attempt; nil if none is known.
	Last *store.SendAttempt
}

// State is "paused", "failing", "ok" or "unused".
func (d destinationHealth) State() string {
	switch {
	case !d.PausedAt.IsZero():
		return "paused"
	case !d.FailingSince.IsZero():
		return "failing"
	case d.Last != nil:
		return "ok"
	}
	return "unused"
}

// routeHealth serves the health page.
func (d *dashboard) routeHealth(mux *http.ServeMux) {
	d.routePage(mux, "GET", "/health", d.showHealth)
	d.routePage(mux, "POST", "/health/checks", d.changes(d.runChecks))
}

func (d *dashboard) showHealth(w http.ResponseWriter, r *http.Request) {
	now := time.Now()
	var page healthPage
	read := func(part string, from func(context.Context) error) {
		ctx, cancel := context.WithTimeout(r.Context(), healthTimeout)
		defer cancel()
		if err := from(ctx); err != nil {
			d.cfg.Log.Warn("health not read", zap.String("part", part), zap.Error(err))
			page.Down = append(page.Down, part)
		}
	}
	read("the queues (Redis)", func(ctx context.Context) error { return page.readQueues(ctx, d.cfg.Backlog, now) })
	read("the processes (Redis)", func(ctx context.Context) error { return d.readProcesses(ctx, &page) })
	read("the look-ups (Redis or the database)", func(ctx context.Context) error { return d.readLookups(ctx, &page, now) })
	read("the destinations (database)", func(ctx context.Context) error { return d.readDestinations(ctx, &page) })
	read("the failures (database)", func(ctx context.Context) (err error) {
		page.Failures, _, err = d.cfg.Store.CountOpenDeadLetters(ctx)
		return err
	})
	page.Problems = d.problems(&page)
	if last := d.checked.Load(); last != nil {
		page.Checks = *last
	}
	d.show(w, r, view{Name: "health", Title: "Health", Section: "/health", Data: page})
}

// runChecks runs the checks of klinghook doctor. They write a test object, so viewers only
// see the last results.
func (d *dashboard) runChecks(w http.ResponseWriter, r *http.Request) {
	d.checking.Lock()
	defer d.checking.Unlock()
	findings := slices.Collect(doctor.Run(r.Context(), d.cfg.Checks(r.Context())))
	if r.Context().Err() == nil { // else they were cut short
		d.checked.Store(&checkResults{time.Now(), findings})
	}
	http.Redirect(w, r, d.cfg.Prefix+"/health#checks", http.StatusSeeOther)
}

func (p *healthPage) readQueues(ctx context.Context, backlog *Backlog, now time.Time) error {
	if backlog == nil {
		return nil
	}
	histories, err := backlog.History(ctx)
	for _, history := range histories {
		info := history.Info
		base := tasks.BaseQueue(info.Queue)
		name := cmp.Or(queueNames[base], info.Queue)
		if base != info.Queue {
			name += " " + strings.TrimPrefix(info.Queue, base+"-")
		}
		current := sampleOf(info, now)
		samples := append(slices.Clip(history.Samples), current) // so that charts end with what the page says
		first := samples[0]
		if p.Since.IsZero() || first.At.Before(p.Since) {
			p.Since = first.At
		}
		queue := queueHealth{Name: info.Queue, Title: name, QueueInfo: *info, Waiting: current.Waiting}
		queue.Runs, queue.Failures = max(current.Runs-first.Runs, 0), max(current.Failures-first.Failures, 0)
		queue.Depth, queue.Rate = depthChart(name, samples, now), rateChart(name, samples, now)
		p.Queues = append(p.Queues, queue)
	}
	return err
}

// readProcesses reads the reports of asynq's servers and of ingest processes from Redis.
func (d *dashboard) readProcesses(ctx context.Context, page *healthPage) error {
	workers, err := tasks.ReadWorkers(ctx, d.cfg.Redis)
	if err != nil {
		return err
	}
	ingests, err := tasks.ReadIngests(ctx, d.cfg.Redis)
	if err != nil {
		return err
	}
	// asynq's Inspector takes no context, so it comes last.
	servers, err := asynq.NewInspectorFromRedisClient(d.cfg.Redis).Servers()
	if err != nil {
		return fmt.Errorf("list workers: %w", err)
	}
	host, _ := os.Hostname() // only shown to people
	page.Processes = append(page.Processes, processHealth{Role: "admin", Host: host, PID: os.Getpid(), Version: d.cfg.Version})
	for _, report := range ingests {
		page.Processes = append(page.Processes, processHealth{Role: "ingest", Host: report.Host, PID: report.PID, Version: report.Version, Spool: report.SpoolPercent, Refused: report.Refused})
	}
	page.Processes = append(page.Processes, workersOf(servers, workers)...)
	slices.SortFunc(page.Processes, func(a, b processHealth) int {
		return cmp.Or(cmp.Compare(a.Role, b.Role), cmp.Compare(a.Host, b.Host), cmp.Compare(a.PID, b.PID))
	})
	return nil
}

// workersOf returns the processes of asynq's servers: a process may have several.
func workersOf(servers []*asynq.ServerInfo, reports []tasks.WorkerReport) []processHealth {
	byName := map[string]*processHealth{}
	for _, server := range servers {
		name := fmt.Sprintf("%s %d", server.Host, server.PID)
		process := byName[name]
		if process == nil {
			process = &processHealth{Role: "worker", Host: server.Host, PID: server.PID, Started: server.Started}
			byName[name] = process
		}
		process.Running += len(server.ActiveWorkers)
		for queue := range server.Queues {
			if !slices.Contains(process.Queues, queue) {
				process.Queues = append(process.Queues, queue)
			}
		}
		slices.Sort(process.Queues)
	}
	for _, report := range reports {
		if process := byName[fmt.Sprintf("%s %d", report.Host, report.PID)]; process != nil {
			process.Version = report.Version
		}
	}
	var list []processHealth
	for process := range maps.Values(byName) {
		list = append(list, *process)
	}
	return list
}

func (d *dashboard) readLookups(ctx context.Context, page *healthPage, now time.Time) (err error) {
	if page.Lookups.On, err = tasks.LookupsOn(ctx, d.cfg.Redis); err != nil {
		return err
	}
	after := cmp.Or(d.cfg.LookupAfter, 15*time.Minute)
	page.Lookups.LookupCounts, err = d.cfg.Store.CountLookups(ctx, tasks.PlatformKling, now.Add(-after), now)
	return err
}

func (d *dashboard) readDestinations(ctx context.Context, page *healthPage) error {
	list, err := d.cfg.Store.Destinations(ctx)
	if err != nil {
		return err
	}
	for _, destination := range list[:min(len(list), shownDestinations)] {
		shown := destinationHealth{Destination: destination}
		if shown.Waiting, err = d.cfg.Store.CountPending(ctx, destination.Name); err != nil {
			return err
		}
		attempts, err := d.cfg.Store.AttemptsAt(ctx, destination.Name, 1)
		if err != nil {
			return err
		}
		if len(attempts) > 0 {
			attempts[0].Error = withoutLinkSecrets(attempts[0].Error)
			shown.Last = &attempts[0]
		}
		page.Destinations = append(page.Destinations, shown)
	}
	return nil
}

// problems returns what needs a person.
func (d *dashboard) problems(page *healthPage) (list []problem) {
	add := func(link, format string, args ...any) {
		list = append(list, problem{fmt.Sprintf(format, args...), link})
	}
	for _, part := range page.Down {
		add("", "Could not read %s. The log of klinghook admin says why.", part)
	}
	if page.Failures > 0 {
		add(d.cfg.Prefix+"/failures", "%s failed for good. See why, and replay or discard.", several(page.Failures, "task", "tasks"))
	}
	if !slices.ContainsFunc(page.Down, func(part string) bool { return strings.Contains(part, "processes") }) {
		d.addProcessProblems(page, add)
	}
	for _, queue := range page.Queues {
		if queue.Paused {
			add(d.cfg.Prefix+"/queues/queues/"+queue.Name, "The queue %s is paused: its tasks wait.", queue.Name)
		}
	}
	for _, destination := range page.Destinations {
		waiting := several(destination.Waiting, "notification waits", "notifications wait")
		switch state := destination.State(); {
		case state == "paused" && destination.PausedBy == store.PausedByOperator:
			add("#destinations", "%s is paused by an operator; %s for it. Resume it with klinghook destinations resume.", destination.Name, waiting)
		case state == "paused":
			add("#destinations", "%s failed for a day and is paused; %s for it. It resumes by itself when a message succeeds.", destination.Name, waiting)
		case state == "failing" && time.Since(destination.FailingSince) >= failingLong:
			add("#destinations", "Every message to %s has failed for %s.", destination.Name, took(time.Since(destination.FailingSince)))
		}
	}
	if !page.Lookups.On && page.Lookups.Due+page.Lookups.Requested > 0 {
		add("#look-ups", "%s for a look-up, and no worker has asked Kling for a day. Set KLINGAI_API_KEY for the workers.", several(page.Lookups.Due+page.Lookups.Requested, "job waits", "jobs wait"))
	}
	return list
}

// several returns a number with its singular or plural.
func several(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return count(n) + " " + many
}

func (d *dashboard) addProcessProblems(page *healthPage, add func(link, format string, args ...any)) {
	running, versions, ingests := map[string]int{}, map[string]bool{}, 0
	for _, process := range page.Processes {
		for _, queue := range process.Queues {
			running[queue]++
		}
		if process.Version != "" {
			versions[process.Version] = true
		}
		if process.Role == "ingest" {
			ingests++
		}
		if process.Spool >= spoolFilling {
			add("#processes", "The spool of %s is %d%% full. Bring Redis back: when it is full, deliveries are refused.", process.Host, process.Spool)
		}
		for _, refusal := range process.Refused {
			add(d.cfg.Prefix+"/rejections", "%s refused %s (%s, %s).", process.Host, several(refusal.Count, "delivery", "deliveries"), sourceName(refusal.Source), reasonName(refusal.Reason))
		}
	}
	switch idle := tasks.QueuesWithout(running, d.cfg.EventShards); {
	case len(running) == 0:
		add("#processes", "No worker is running: events wait in Redis. Start klinghook worker; if it exits at once, its log says why.")
	case len(idle) > 0:
		add("#processes", "No worker runs %s. Add it to KLINGHOOK_QUEUES of a worker.", strings.Join(idle, ", "))
	}
	if ingests == 0 {
		add("#processes", "No ingest process has reported to this Redis within a minute. Start klinghook-ingest with the same KLINGHOOK_REDIS_URL.")
	}
	if len(versions) > 1 {
		add("#processes", "Several versions run: %s.", strings.Join(slices.Sorted(maps.Keys(versions)), ", "))
	}
}
