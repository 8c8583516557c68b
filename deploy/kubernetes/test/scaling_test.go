package kubernetes

import (
	"regexp"
	"slices"
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
				t.Errorf("the %s of %s selects the pods of %v", what, name, got)
			}
		}
		for _, w := range workloads(m) {
			check("selector", w.name, w.selector)
			for _, spread := range w.pod.Spec.TopologySpreadConstraints {
				check("spread", w.name, spread.LabelSelector)
			}
			if w.component() == "admin" {
				continue
			}
			check("budget", w.name, named[*policyv1.PodDisruptionBudget](t, m, w.name).Spec.Selector)
			if len(w.pod.Spec.TopologySpreadConstraints) == 0 {
				t.Errorf("all pods of %s may be on one machine", w)
			}
		}
	})
}

// TestWorkloadsHaveOneScaler checks that replicas are set by the manifest or by one
// autoscaler, and that a pod works before an autoscaler adds another.
func TestWorkloadsHaveOneScaler(t *testing.T) {
	onEach(t, func(t *testing.T, m manifests) {
		scalers := map[string]int{}
		for _, s := range of[*kedav1alpha1.ScaledObject](m) {
			scalers["Deployment "+s.Spec.ScaleTargetRef.Name]++ // KEDA's default kind
		}
		for _, h := range of[*autoscalingv2.HorizontalPodAutoscaler](m) {
			target := h.Spec.ScaleTargetRef.Kind + " " + h.Spec.ScaleTargetRef.Name
			scalers[target]++
			if h.Spec.MinReplicas == nil || *h.Spec.MinReplicas < 2 || h.Spec.MaxReplicas <= *h.Spec.MinReplicas {
				t.Errorf("%s scales from %s to %d", h.Name, text(h.Spec.MinReplicas), h.Spec.MaxReplicas)
			}
			for _, w := range workloads(m) {
				request := w.pod.Spec.Containers[0].Resources.Requests.Cpu().MilliValue()
				if use := request * int64(*h.Spec.Metrics[0].Resource.Target.AverageUtilization) / 100; w.String() == target && use < 250 {
					t.Errorf("%s adds a pod when each uses %d thousandths of a CPU", h.Name, use)
				}
			}
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

// TestKEDAScalesByQueues checks that it watches asynq's lists of all queues, with a
// login from the Secret.
func TestKEDAScalesByQueues(t *testing.T) {
	m := build(t, "../overlays/keda")
	var want, got []string
	for _, match := range regexp.MustCompile(`(?m)^\tQueue\w+\s+= "(\w+)"$`).FindAllStringSubmatch(read(t, "../../../tasks/kind.go"), -1) {
		// A few samples of refused deliveries are no reason to scale.
		if match[1] != "rejections" {
			want = append(want, "redis asynq:{"+match[1]+"}:pending")
		}
	}
	for _, trigger := range named[*kedav1alpha1.ScaledObject](t, m, "klinghook-worker").Spec.Triggers {
		got = append(got, trigger.Type+" "+trigger.Metadata["listName"])
		if !regexp.MustCompile(`^[1-9]\d*$`).MatchString(trigger.Metadata["listLength"]) {
			t.Errorf("trigger %s: listLength is %q", trigger.Name, trigger.Metadata["listLength"])
		}
		for _, ref := range named[*kedav1alpha1.TriggerAuthentication](t, m, trigger.AuthenticationRef.Name).Spec.SecretTargetRef {
			known := slices.Contains([]string{"address", "username", "password", "tls"}, ref.Parameter)
			if !known || exampleSecret(t, ref.Name)[ref.Key] == "" {
				t.Errorf("trigger %s takes its %s from %s of Secret %s", trigger.Name, ref.Parameter, ref.Key, ref.Name)
			}
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if len(want) < 3 || !slices.Equal(got, want) {
		t.Errorf("KEDA watches %q, want %q", got, want)
	}
}
