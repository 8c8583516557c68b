package dashboard

import (
	"testing"
	"time"
)

func TestChartsShowTheLastHour(t *testing.T) {
	now := time.Unix(1781080800, 0)
	at := func(ago time.Duration, waiting, runs, failures int) QueueSample {
		return QueueSample{At: now.Add(-ago), Waiting: waiting, Runs: runs, Failures: failures}
	}
	samples := []QueueSample{at(2*time.Hour, 9, 0, 0), at(30*time.Minute, 0, 10, 0), at(15*time.Minute, 4, 30, 5), at(0, 2, 40, 5), at(0, 2, 0, 0)}
	depth := depthChart("Events", samples[1:4], now)
	if want := "M120.0 39.0L180.0 1.0L240.0 20.0"; depth.Line != want || depth.Area != want+"L240.0 40.0L120.0 40.0Z" {
		t.Errorf("the line is %s and the area %s", depth.Line, depth.Area)
	}
	if want := "Events: tasks waiting in the last hour, at most 4"; depth.Label != want {
		t.Errorf("the label is %q", depth.Label)
	}
	rate := rateChart("Events", samples, now)
	want := []bar{{"116.0", "20.0", "3.0", "20.0"}, {"176.0", "0.0", "3.0", "40.0"}, {"236.0", "20.0", "3.0", "20.0"}}
	if len(rate.Bars) != 3 || rate.Bars[0] != want[0] || rate.Bars[1] != want[1] || rate.Bars[2] != want[2] || len(rate.Bad) != 1 || rate.Bad[0] != (bar{"176.0", "30.0", "3.0", "10.0"}) {
		t.Errorf("the bars are %v and %v", rate.Bars, rate.Bad)
	}
	for later := range 60 * time.Second / time.Second {
		if got := rateChart("Events", samples, now.Add(later*time.Second)); got.Highest != rate.Highest {
			t.Errorf("%d s later the highest rate is %d instead of %d", later, got.Highest, rate.Highest)
		}
	}
	if empty := depthChart("Events", samples[:1], now); empty.Line != "" || len(rateChart("Events", nil, now).Bars) != 0 {
		t.Errorf("without samples there is %v", empty)
	}
}
