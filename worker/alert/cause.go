package alert

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/klinghook/klinghook/tasks"
)

const (
	// spoolHigh is when a spool counts as filling, in percent.
	spoolHigh = 50
	// A series of refusals is worth an alert if it has at least minRefusals and lasts
	// minLasted.
	minRefusals = 3
	minLasted   = time.Minute
	// restartTime is how long a queue may be without a worker, such as during an upgrade.
	restartTime = time.Minute
)

// condition is the state of a cause.
type condition struct {
	cause string
	// level is 0 if all is well. It grows when there is something new to report.
	level int64
	// after is how long the condition must last before it is worth an alert.
	after time.Duration
	// title and text describe the problem and how to solve it; over reports its end.
	title, text, over string
}

// conditions returns the conditions that are known now.
func conditions(ctx context.Context, rdb redis.UniversalClient, eventShards int) ([]condition, error) {
	running, err := tasks.Workers(rdb)
	if err != nil {
		return nil, err
	}
	ingests, err := tasks.ReadIngests(ctx, rdb)
	if err != nil {
		return nil, err
	}
	list := append([]condition{ofWorkers(tasks.QueuesWithout(running, eventShards), len(running) == 0)}, ofIngests(ingests)...)
	work, found, err := tasks.ReadWork(ctx, rdb)
	if err != nil || !found {
		return list, err
	}
	return append(list, ofWork(work)...), nil
}

func ofWorkers(idle []string, none bool) condition {
	c := condition{cause: "workers", after: restartTime, over: "Each queue has a worker again."}
	switch {
	case none:
		c.level, c.title, c.text = 2, "No worker is running", "Events wait in Redis. Start klinghook worker; if it exits at once, its log says why."
	case len(idle) > 0:
		c.level, c.title, c.text = 1, "A queue has no worker", "No worker runs "+strings.Join(idle, ", ")+". Add it to KLINGHOOK_QUEUES of a worker."
	}
	return c
}

func ofIngests(reports []tasks.IngestReport) []condition {
	spool := condition{cause: "spool", over: "No spool is filling up any more."}
	refused := condition{cause: "refused", over: "Deliveries are accepted again."}
	var spools, series []string
	for _, report := range reports {
		if report.SpoolPercent >= spoolHigh {
			spools = append(spools, fmt.Sprintf("The spool of %s is %d %% full.", report.Host, report.SpoolPercent))
		}
		for _, r := range report.Refused {
			if r.Count >= minRefusals && r.Lasted >= minLasted {
				series = append(series, fmt.Sprintf("%s refused %d deliveries to %s in %s (%s).", report.Host, r.Count, r.Source, r.Lasted.Round(time.Second), r.Reason))
			}
		}
	}
	if len(spools) > 0 {
		spool.level, spool.title = 1, "A spool is filling up"
		spool.text = strings.Join(spools, " ") + " Bring Redis back: when the spool is full, deliveries are refused."
	}
	if len(series) > 0 {
		refused.level, refused.title = 1, "Deliveries are refused"
		refused.text = strings.Join(series, " ") + " See klinghook rejections list, and the log of klinghook-ingest."
	}
	return []condition{spool, refused}
}

func ofWork(work tasks.WorkReport) []condition {
	letters := condition{cause: "dead letters", over: "No dead letter is open any more."}
	if work.DeadLetters > 0 {
		letters.level, letters.title = work.NewestDeadLetter, "Dead letters"
		letters.text = fmt.Sprintf("%d open: work that klinghook gave up on. See klinghook deadletters list.", work.DeadLetters)
	}
	links := condition{cause: "links", over: "No link is about to expire any more."}
	if work.Expiring > 0 {
		links.level, links.title = int64(work.Expiring), "Links are about to expire"
		links.text = fmt.Sprintf("%d files are not stored yet. See klinghook jobs list --expiring.", work.Expiring)
	}
	paused := condition{cause: "paused", over: "No destination is paused any more."}
	if len(work.Paused) > 0 {
		paused.level, paused.title = int64(len(work.Paused)), "A destination is paused"
		paused.text = strings.Join(work.Paused, ", ") + " failed for a day and gets no messages now."
	}
	return []condition{letters, links, paused}
}
