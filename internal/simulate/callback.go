package simulate

import (
	"fmt"
	"slices"
	"time"
)

// receiver is where callbacks go, and how.
type receiver struct {
	// number is 0 for a job's callback_url, else the webhook's.
	number   uint64
	url      string
	protocol Protocol // not AsCreated
	sign     signer
	// events are those that are wanted, in the seed protocol's words; nil for all.
	events []string
}

// callback is one thing to be told to one receiver.
type callback struct {
	job      *job
	moment   moment
	receiver *receiver
	// id is the same at every attempt, and where it is repeated.
	id string
	// attempt is the one that comes next, from 1.
	attempt int
	due     time.Time
}

// callbacks lays out what a job tells a receiver and when, with what goes wrong
// on the way, and counts it.
func (c Config) callbacks(j *job, r *receiver, count *counters) []*callback {
	told := r.moments(j)
	plan := make([]*callback, len(told))
	fates := make([]callbackFate, len(told))
	for i, m := range told {
		fates[i] = c.callbackFate(j.number, r.number, i)
		plan[i] = &callback{job: j, moment: m, receiver: r, id: fmt.Sprintf("msg_%s_%d_%d", j.id, r.number, i), attempt: 1, due: m.at}
		if fates[i].late {
			plan[i].due = m.at.Add(c.LateBy)
		}
	}
	share := func(s float64) time.Duration {
		return time.Millisecond + time.Duration(s*float64(c.Duration))
	}
	var sent []*callback
	for i, cb := range slices.Backward(plan) {
		f := fates[i]
		f.reordered = f.reordered && i+1 < len(plan)
		if f.reordered {
			// The successor's own time is known by now: the last one comes first here.
			cb.due = latest(cb.due, plan[i+1].due.Add(share(f.behind)))
		}
		f.repeated = f.repeated && !f.lost
		count.planned(f)
		if !f.lost {
			sent = append(sent, cb)
		}
		if f.repeated {
			again := *cb
			again.due = cb.due.Add(share(f.again))
			sent = append(sent, &again)
		}
	}
	slices.SortStableFunc(sent, func(a, b *callback) int { return a.due.Compare(b.due) })
	return sent
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// moments are those of a job's that a receiver is told of. The official protocols
// know no progress: they tell of a state once.
func (r *receiver) moments(j *job) []moment {
	var told []moment
	for i, m := range j.moments {
		switch {
		case r.protocol != Seed && i > 0 && m.status == j.moments[i-1].status:
		case r.events != nil && !slices.Contains(r.events, seedEvent(m.status)):
		default:
			told = append(told, m)
		}
	}
	return told
}
