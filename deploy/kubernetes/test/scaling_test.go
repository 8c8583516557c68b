package kubernetes

import (
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	kedav1alpha1 "github.com/kedacore/keda/v2/apis/keda/v1alpha1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestSelectorsSelectTheirOwnPods(t *testing.T) {
	onEach(t, func(t *testing.T, m manifests) {
		check := func(what, name string, selector *metav1.LabelSelector) {
			t.Helper()
			if got := selected(t, m, selector); len(got) != 1 || got[0].name != name {
				t.Errorf("the %s of %s selects the pods of %v", what, name, components(got))
			}
		}
		for _, w := range workloads(m) {
			if w.selector != nil {
				check("selector", w.name, w.selector)
			}
			for _, spread := range w.pod.Spec.TopologySpreadConstraints {
				check("spread", w.name, spread.LabelSelector)
			}
		}
		for _, component := range []string{"ingest", "worker"} {
			if len(workloadOf(t, m, component).pod.Spec.TopologySpreadConstraints) == 0 {
				t.Errorf("all of %s may be on one machine", component)
			}
			budget := named[*policyv1.PodDisruptionBudget](t, m, "klinghook-"+component)
			check("budget", budget.Name, budget.Spec.Selector)
		}
	})
}

// TestWorkloadsHaveOneScaler checks that replicas are set by the manifest or by one
// autoscaler.
func TestWorkloadsHaveOneScaler(t *testing.T) {
	onEach(t, func(t *testing.T, m manifests) {
		scalers := map[string]int{}
		for _, h := range of[*autoscalingv2.HorizontalPodAutoscaler](m) {
			scalers[h.Spec.ScaleTargetRef.Kind+" "+h.Spec.ScaleTargetRef.Name]++
			if h.Spec.MinReplicas == nil || *h.Spec.MinReplicas < 2 || h.Spec.MaxReplicas <= *h.Spec.MinReplicas {
				t.Errorf("%s scales from %s to %d", h.Name, text(h.Spec.MinReplicas), h.Spec.MaxReplicas)
			}
		}
		for _, s := range of[*kedav1alpha1.ScaledObject](m) {
			scalers["Deployment "+s.Spec.ScaleTargetRef.Name]++ // KEDA's default kind
		}
		for _, w := range workloads(m) {
			if n := scalers[w.String()]; n > 1 || n == 1 && w.replicas != nil {
				t.Errorf("%s has %d autoscalers and %s replicas", w, n, text(w.replicas))
			}
			delete(scalers, w.String())
		}
		if len(scalers) > 0 {
			t.Errorf("autoscalers of unknown %v", scalers)
		}
	})
}

// queuesOf returns the queues in tasks/kind.go.
func queuesOf(t *testing.T) []string {
	t.Helper()
	source, err := os.ReadFile("../../../tasks/kind.go")
	noError(t, err)
	var names []string
	for _, match := range regexp.MustCompile(`(?m)^\tQueue\w+\s+= "(\w+)"$`).FindAllStringSubmatch(string(source), -1) {
		names = append(names, match[1])
	}
	return names
}

// TestKEDAScalesByQueues checks that it watches asynq's lists of all queues, with a
// login from the Secret.
func TestKEDAScalesByQueues(t *testing.T) {
	m := build(t, "../overlays/keda")
	scaled := named[*kedav1alpha1.ScaledObject](t, m, "klinghook-worker")
	queues, seen := queuesOf(t), []string{}
	for _, trigger := range scaled.Spec.Triggers {
		list := trigger.Metadata["listName"]
		queue := strings.TrimSuffix(strings.TrimPrefix(list, "asynq:{"), "}:pending")
		if trigger.Type != "redis" || !slices.Contains(queues, queue) || list != "asynq:{"+queue+"}:pending" || trigger.Name != queue {
			t.Errorf("trigger %s of type %s watches %q; the queues are %q", trigger.Name, trigger.Type, list, queues)
		}
		if n, err := strconv.Atoi(trigger.Metadata["listLength"]); err != nil || n < 1 {
			t.Errorf("trigger %s: listLength is %q", trigger.Name, trigger.Metadata["listLength"])
		}
		named[*kedav1alpha1.TriggerAuthentication](t, m, trigger.AuthenticationRef.Name)
		seen = append(seen, queue)
	}
	for _, queue := range queues {
		// A few samples of refused deliveries are no reason to scale.
		if !slices.Contains(seen, queue) && queue != "rejections" {
			t.Errorf("queue %s scales nothing", queue)
		}
	}
	secrets := exampleSecrets(t)
	for _, login := range of[*kedav1alpha1.TriggerAuthentication](m) {
		for _, ref := range login.Spec.SecretTargetRef {
			if secret := secrets[ref.Name]; secret == nil || secret.StringData[ref.Key] == "" {
				t.Errorf("%s needs %s of Secret %s, which has no example", login.Name, ref.Key, ref.Name)
			}
			if !slices.Contains([]string{"address", "username", "password", "tls"}, ref.Parameter) {
				t.Errorf("%s has parameter %s, which KEDA's redis scaler does not know", login.Name, ref.Parameter)
			}
		}
	}
}
