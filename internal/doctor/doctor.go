// Package doctor checks an installation for common problems, and says how to fix them.
// The command `klinghook doctor` prints its findings.
//
// Checks run at the same time and do not depend on each other. Each has [Timeout]. They
// change nothing that lasts, and their findings show no secrets.
package doctor

import (
	"context"
	"fmt"
	"iter"
	"time"
)

// Timeout limits a check. A check that ignores its context is abandoned a second later.
const Timeout = 15 * time.Second

// Severity is how serious a finding is.
type Severity string

// The severities.
const (
	OK      Severity = "ok"
	Warning Severity = "warning" // works, but something may be lost or missed
	Failed  Severity = "failed"
)

// Finding is what a check found.
type Finding struct {
	// Check names the part that was checked, such as "redis memory".
	Check  string   `json:"check"`
	Status Severity `json:"status"`
	// Found describes the part. It may include advice.
	Found string `json:"found"`
	// Fix says how to fix it; empty if nothing is wrong or Found says it.
	Fix string `json:"fix,omitempty"`
}

// Check is one check. It may have several findings about the same thing.
type Check struct {
	Name string
	Run  func(ctx context.Context) []Finding
}

// Run runs the checks at the same time and yields their findings in the order of the
// checks, each as soon as it is known.
func Run(ctx context.Context, checks []Check) iter.Seq[Finding] {
	return func(yield func(Finding) bool) {
		ctx, cancel := context.WithTimeout(ctx, Timeout+time.Second)
		defer cancel()
		results := make([]chan []Finding, len(checks))
		for i, check := range checks {
			results[i] = make(chan []Finding, 1)
			go func() {
				ctx, cancel := context.WithTimeout(ctx, Timeout)
				defer cancel()
				results[i] <- check.Run(ctx)
			}()
		}
		for i, check := range checks {
			var findings []Finding
			select {
			case findings = <-results[i]:
			case <-ctx.Done():
				select {
				case findings = <-results[i]: // known before
				default:
					findings = []Finding{failed(check.Name, "no answer within "+Timeout.String(), "try again; this part hangs")}
				}
			}
			for _, finding := range findings {
				if !yield(finding) {
					return
				}
			}
		}
	}
}

// Broken returns a check that could not be prepared. The error says how to fix it.
func Broken(name string, err error) Check {
	return Check{Name: name, Run: func(context.Context) []Finding { return []Finding{failed(name, err.Error(), "")} }}
}

func ok(check, format string, args ...any) Finding {
	return Finding{Check: check, Status: OK, Found: fmt.Sprintf(format, args...)}
}

func warning(check, found, fix string) Finding {
	return Finding{Check: check, Status: Warning, Found: found, Fix: fix}
}

func failed(check, found, fix string) Finding {
	return Finding{Check: check, Status: Failed, Found: found, Fix: fix}
}

// clock judges how far another clock is from this machine's.
func clock(check, whose string, ahead time.Duration) Finding {
	const (
		// precision is that of HTTP's dates.
		precision = 2 * time.Second
		// leaseTime is how long a worker keeps a task without renewing its lease.
		leaseTime = 30 * time.Second
		fix       = "synchronise this machine's clock and the other one's with NTP"
	)
	found := fmt.Sprintf("%s is %s ahead of this machine's", whose, ahead.Round(time.Millisecond))
	if ahead < 0 {
		found = fmt.Sprintf("%s is %s behind this machine's", whose, -ahead.Round(time.Millisecond))
	}
	switch ahead = ahead.Abs(); {
	case ahead <= precision:
		return ok(check, "%s", found)
	case ahead < leaseTime:
		return warning(check, found, fix)
	}
	return failed(check, found+"; signatures and leases depend on the time", fix)
}
