package worker

import (
	"cmp"
	"strconv"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/klinghook/klinghook/tasks"
)

// maxCostLabels limits the models and units in the cost metric, because senders choose
// them. All others are counted as "other".
const maxCostLabels = 100

// costCounter sums what jobs cost.
type costCounter struct {
	total *prometheus.CounterVec

	mu   sync.Mutex // guards seen
	seen map[[2]string]bool
}

func newCostCounter() *costCounter {
	return &costCounter{
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "klinghook_job_cost_total",
			Help: "Costs that this worker recorded, by the job's model and by unit or currency.",
		}, []string{"model", "unit"}),
		seen: make(map[[2]string]bool),
	}
}

// charge counts costs that were added to a job of a model.
func (m metrics) charge(model string, costs []tasks.Cost) {
	for _, cost := range costs {
		amount, err := strconv.ParseFloat(cost.Amount, 64)
		if err != nil || amount <= 0 {
			continue
		}
		labels := m.costs.labels(cmp.Or(model, "unknown"), cost.Unit)
		m.costs.total.WithLabelValues(labels[0], labels[1]).Add(amount)
	}
}

func (c *costCounter) labels(model, unit string) [2]string {
	const longest = 64
	c.mu.Lock()
	defer c.mu.Unlock()
	labels := [2]string{model, unit}
	if !c.seen[labels] && (len(c.seen) >= maxCostLabels || len(model) > longest) {
		return [2]string{"other", "other"}
	}
	c.seen[labels] = true
	return labels
}
