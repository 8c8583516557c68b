package kubernetes

import (
	"encoding/json"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// manifests are the objects of one kustomization.
type manifests []object

// of returns the objects of one type.
func of[T object](m manifests) []T {
	var list []T
	for _, o := range m {
		if typed, ok := o.(T); ok {
			list = append(list, typed)
		}
	}
	return list
}

// named returns the object of a type and a name.
func named[T object](t *testing.T, m manifests, name string) T {
	t.Helper()
	for _, o := range of[T](m) {
		if o.GetName() == name {
			return o
		}
	}
	var none T
	t.Fatalf("no %T named %s", none, name)
	return none
}

// workload is an object that creates pods.
type workload struct {
	kind, name string
	selector   *metav1.LabelSelector // nil for a Job
	pod        corev1.PodTemplateSpec
	claims     []corev1.PersistentVolumeClaim
	replicas   *int32 // nil with an autoscaler
}

// component is the process in the pods.
func (w workload) component() string { return w.pod.Labels["app.kubernetes.io/component"] }

// container returns the pod's only container.
func (w workload) container() corev1.Container { return w.pod.Spec.Containers[0] }

func (w workload) String() string { return w.kind + " " + w.name }

func workloads(m manifests) []workload {
	var list []workload
	for _, d := range of[*appsv1.Deployment](m) {
		list = append(list, workload{"Deployment", d.Name, d.Spec.Selector, d.Spec.Template, nil, d.Spec.Replicas})
	}
	for _, s := range of[*appsv1.StatefulSet](m) {
		list = append(list, workload{"StatefulSet", s.Name, s.Spec.Selector, s.Spec.Template, s.Spec.VolumeClaimTemplates, s.Spec.Replicas})
	}
	for _, j := range of[*batchv1.Job](m) {
		list = append(list, workload{"Job", j.Name, nil, j.Spec.Template, nil, j.Spec.Parallelism})
	}
	return list
}

// workloadOf returns the workload of a component.
func workloadOf(t *testing.T, m manifests, component string) workload {
	t.Helper()
	for _, w := range workloads(m) {
		if w.component() == component {
			return w
		}
	}
	t.Fatalf("no workload of %s", component)
	return workload{}
}

// selected returns the workloads whose pods a selector selects.
func selected(t *testing.T, m manifests, selector *metav1.LabelSelector) []workload {
	t.Helper()
	s, err := metav1.LabelSelectorAsSelector(selector)
	noError(t, err)
	var list []workload
	for _, w := range workloads(m) {
		if s.Matches(labels.Set(w.pod.Labels)) {
			list = append(list, w)
		}
	}
	return list
}

// components returns the components of workloads.
func components(list []workload) []string {
	var names []string
	for _, w := range list {
		names = append(names, w.component())
	}
	return names
}

// environment returns a container's environment; values in Secrets are the example's.
func environment(t *testing.T, m manifests, w workload) map[string]string {
	t.Helper()
	env := map[string]string{}
	add := func(name, value string) {
		if _, twice := env[name]; twice {
			t.Errorf("%s gets %s twice", w, name)
		}
		env[name] = value
	}
	secrets := exampleSecrets(t)
	for _, from := range w.container().EnvFrom {
		switch {
		case from.ConfigMapRef != nil:
			for name, value := range named[*corev1.ConfigMap](t, m, from.ConfigMapRef.Name).Data {
				add(name, value)
			}
		case from.SecretRef != nil:
			secret, ok := secrets[from.SecretRef.Name]
			if !ok {
				t.Fatalf("%s needs Secret %s, which has no example", w, from.SecretRef.Name)
			}
			for name, value := range secret.StringData {
				add(name, value)
			}
		default:
			t.Errorf("%s gets its environment from %+v", w, from)
		}
	}
	for _, e := range w.container().Env {
		add(e.Name, e.Value)
	}
	return env
}

// ports returns a container's ports by name.
func ports(w workload) map[string]int32 {
	list := map[string]int32{}
	for _, p := range w.container().Ports {
		list[p.Name] = p.ContainerPort
	}
	return list
}

// text formats a value with what its pointers point to.
func text(v any) string {
	out, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(out)
}

// asSelector returns a Service's selector as a LabelSelector.
func asSelector(m map[string]string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: m}
}

// noError ends a test that cannot go on.
func noError(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
