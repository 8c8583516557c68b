package simulate

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"
)

const (
	// backoff is the wait before the second attempt of a callback. It doubles with each
	// further one, up to maxBackoff.
	backoff    = time.Second
	maxBackoff = 10 * time.Minute
)

// callback reports one change of a job.
type callback struct {
	job      *job
	change   change
	protocol CallbackFormat // not AsCreated
	id       string         // the same at every attempt and repetition
	due      time.Time
}

// protocol returns the protocol in which a job calls back.
func (s *Simulator) protocol(j *job) CallbackFormat {
	switch {
	case s.cfg.Protocol != AsCreated:
		return s.cfg.Protocol
	case j.form == newForm:
		return Official
	}
	return OfficialLegacy
}

// plan returns the callbacks of a job, with their simulated faults, and counts them. The
// caller has locked mu.
func (s *Simulator) plan(j *job) []callback {
	if j.callbackURL == "" {
		return nil
	}
	var planned []callback
	protocol := s.protocol(j)
	for i, change := range j.life {
		// Only the Seed protocol reports progress, the others each status once.
		if protocol == Seed || i == 0 || change.Status != j.life[i-1].Status {
			planned = append(planned, callback{job: j, change: change, protocol: protocol, id: fmt.Sprintf("msg_%s_%d", j.id, len(planned)), due: change.at})
		}
	}
	share := func(of float64) time.Duration { return time.Millisecond + time.Duration(of*float64(s.cfg.Duration)) }
	var sent []callback
	counts := &s.stats.Callbacks
	var next time.Time // when the successor is sent
	for i, callback := range slices.Backward(planned) {
		fate := s.cfg.callbackFate(j.number, i)
		if fate.late {
			callback.due = callback.due.Add(s.cfg.LateBy)
			counts.Late++
		}
		if fate.reordered && i+1 < len(planned) {
			if after := next.Add(share(fate.behind)); after.After(callback.due) {
				callback.due = after
			}
			counts.Reordered++
		}
		next = callback.due
		counts.Planned++
		if fate.lost {
			counts.Lost++
			continue
		}
		sent = append(sent, callback)
		if fate.repeated {
			callback.due = callback.due.Add(share(fate.again))
			sent = append(sent, callback)
			counts.Repeated++
		}
	}
	return sent
}

// deliver posts a callback until it is answered with 2xx or no attempt is left.
func (s *Simulator) deliver(cb callback) {
	s.mu.Lock()
	stopped := s.stopping.Err() != nil
	if !stopped {
		s.posts.Add(1)
	}
	s.mu.Unlock()
	if stopped {
		return
	}
	defer s.posts.Done()
	delivered := false
	for attempt := 0; attempt < s.cfg.Attempts && !delivered; attempt++ {
		if attempt > 0 && sleep(s.stopping, min(backoff<<min(attempt-1, 20), maxBackoff)) != nil {
			return
		}
		select {
		case s.slots <- struct{}{}:
		case <-s.stopping.Done():
			return
		}
		err := s.post(cb)
		<-s.slots
		if s.posting.Err() != nil {
			return // cut off: the receiver may have accepted it or not
		}
		delivered = err == nil
	}
	s.count(func(stats *Stats) {
		if delivered {
			stats.Callbacks.Delivered++
		} else {
			stats.Callbacks.GivenUp++
		}
	})
	s.settle(cb.job)
}

// post posts a callback once. An answer other than 2xx is an error.
func (s *Simulator) post(cb callback) error {
	body, err := s.update(cb.job, cb.change, byCallback, cb.job.end().at).Body(cb.protocol)
	if err != nil {
		return err
	}
	secret := s.cfg.OfficialSecret
	switch {
	case s.cfg.Unsigned:
		secret = ""
	case cb.protocol == Seed:
		secret = s.cfg.SeedSecret
	}
	header, err := cb.protocol.Sign(secret, cb.id, time.Now(), body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(s.posting, http.MethodPost, cb.job.callbackURL, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header = header
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "klinghook-simulate")
	res, err := s.client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()                      // only read from
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10)) // so that the connection can be used again
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("answered %s", res.Status)
	}
	return nil
}
